//! How far recording is behind is known whoever works.

use std::time::Duration;

use redline_tests::{Plan, rows, until};

use crate::dashboards::{shown, sum, text};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn partitions_that_no_worker_reads_have_a_lag_that_grows_older_until_they_are_recorded() {
    let redline = Plan::new("lag").make().await;
    let (relay, relay_at) = shown(&redline, "relay", &[]).await;
    let events: Vec<_> = (0..30)
        .map(|id| rows::row(&rows::billing(&format!("r-{id}"), 1, 10)))
        .collect();
    redline.produce_rows(&events).await;
    let rows_lag = format!("messaging_destination_name=\"{}\"", redline.topics.rows);
    let oldest = async |than: f64| {
        until("the lag is shown and grows older", LIMIT, async || {
            let text = text(&relay_at).await;
            let records = sum(&text, &["redline_lag_records{", &rows_lag]);
            let seconds = sum(&text, &["redline_lag_seconds{", &rows_lag]);
            if records == 30.0 && seconds > than {
                return Ok(seconds);
            }
            Err(format!("{records} records, {seconds} seconds"))
        })
        .await
    };
    let first = oldest(0.0).await;
    // Nothing moves, and it grows older all the same.
    oldest(first).await;
    let worker = redline.work();
    until("nothing is behind", LIMIT, async || {
        let text = text(&relay_at).await;
        let seconds = sum(&text, &["redline_lag_seconds{"]);
        let records = sum(&text, &["redline_lag_records{"]);
        if (records, seconds) == (0.0, 0.0) && text.contains("redline_lag_seconds{") {
            return Ok(());
        }
        Err(format!("{records} records, {seconds} seconds"))
    })
    .await;
    redline.stop(vec![worker, relay]).await;
    redline.remove().await;
}

#[tokio::test]
async fn one_process_at_a_time_shows_the_installation_and_another_takes_over() {
    let redline = Plan::new("takes-over").make().await;
    let (first, first_at) = shown(&redline, "relay", &[]).await;
    let shows = async |address: &str| text(address).await.contains("redline_outbox_messages 0");
    until("the first one shows it", LIMIT, async || {
        match shows(&first_at).await {
            true => Ok(()),
            false => Err("it does not".to_owned()),
        }
    })
    .await;
    let (second, second_at) = shown(&redline, "work", &[]).await;
    // It has looked once it is known to be ready, and stands by.
    until("the second one is ready", LIMIT, async || {
        let answer = reqwest::get(format!("http://{second_at}/readyz"))
            .await
            .expect("an answer");
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(answer.text().await.expect("text"))
        }
    })
    .await;
    assert!(!shows(&second_at).await, "each figure is shown once");
    first.kill9();
    until("the second one shows it", LIMIT, async || {
        match shows(&second_at).await {
            true => Ok(()),
            false => Err("it does not".to_owned()),
        }
    })
    .await;
    redline.stop(vec![second]).await;
    redline.remove().await;
}
