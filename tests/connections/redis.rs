//! Redis over TLS with users. It decides nothing, so a worker tells what is wrong and goes on.

use std::time::Duration;

use redline_tests::{Secure, Variables};

use crate::plan;

#[tokio::test]
async fn a_worker_tells_what_is_wrong_with_redis_and_goes_on() {
    let secure = Secure::services();
    let redline = plan("redis").make().await;
    let good = secure.redis("good", "redline");
    let plain = Variables::default().with("REDIS_URL", &format!("redis://{}/", secure.text("redis/good")));
    for (variables, parts) in [
        (
            good.clone().with("REDLINE_REDIS__PASSWORD", "a-bad-password"),
            ["refuses the login", "redis.password"],
        ),
        (
            secure.redis("good", "reader"),
            ["refuses the login", "what it may do (ACL)"],
        ),
        (
            secure.redis("expired", "redline"),
            ["the certificate of Redis at localhost:", "has expired"],
        ),
        (secure.redis("elsewhere", "redline"), ["but for", "redis.url"]),
        (
            good.clone()
                .with("REDLINE_REDIS__CA_FILE", secure.text("other_authority")),
            ["not trusted here", "redis.ca_file"],
        ),
        (plain, ["speaks only TLS on this port", "redis.url"]),
    ] {
        let mut worker = redline.start("work", &variables.pairs());
        let line = worker
            .wait_for_log("goes on without it", Duration::from_secs(60))
            .await;
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
        worker
            .wait_for_log("the group's partitions were distributed", Duration::from_secs(60))
            .await;
        let log = worker.log();
        assert!(
            !log.contains(secure.text("password")) && !log.contains("a-bad-password"),
            "{log}"
        );
        redline.stop(vec![worker]).await;
    }
    redline.remove().await;
}
