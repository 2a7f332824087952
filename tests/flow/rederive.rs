//! `redline rederive`: what is recorded follows from the recorded events and facts, and damage is named.

use serde_json::Value;

use crate::sheet;

#[tokio::test]
async fn what_is_recorded_follows_from_its_events_and_facts_and_each_damage_is_named() {
    let simulation = sheet::sheet();
    let (redline, processes) = sheet::recorded("rederive", &simulation).await;
    redline.stop(processes).await;
    let told = redline.succeed(&["rederive"]).await;
    assert!(told.ends_with("\nNo difference.\n"), "{told}");
    let rows = redline
        .count("select count(*) from redline.entities where entity_type = 'row'")
        .await;
    let changes = redline.count("select count(*) from redline.changes").await;
    assert!(
        told.contains(&format!("\n{rows} rows, {changes} changes, ")),
        "{told}"
    );

    for (damage, mend, what, found) in [
        (
            "create table kept as select * from redline.changes order by entity, version, column_name limit 1;
             update redline.changes c set after = 'other' from kept k
             where (c.entity, c.version, c.column_name) = (k.entity, k.version, k.column_name)",
            "update redline.changes c set after = k.after from kept k
             where (c.entity, c.version, c.column_name) = (k.entity, k.version, k.column_name); drop table kept",
            "change",
            "is recorded otherwise",
        ),
        (
            "create table kept as select * from redline.changes order by entity, version, column_name limit 1;
             delete from redline.changes c using kept k
             where (c.entity, c.version, c.column_name) = (k.entity, k.version, k.column_name)",
            "insert into redline.changes select * from kept; drop table kept",
            "change",
            "is not recorded",
        ),
        (
            "create table kept as select * from redline.flags where state_key is null and status = 'standing'
                order by flag_id limit 1;
             update redline.flags f set risk = 'NONE' from kept k where k.flag_id = f.flag_id",
            "update redline.flags f set risk = k.risk from kept k where k.flag_id = f.flag_id; drop table kept",
            "flag",
            "is recorded otherwise",
        ),
        (
            "create table kept as select * from redline.contributions order by entity, version, role limit 1;
             delete from redline.contributions c using kept k
             where (c.entity, c.version, c.role) = (k.entity, k.version, k.role)",
            "insert into redline.contributions select * from kept; drop table kept",
            "contribution",
            "what it contributes to natural keys is recorded otherwise",
        ),
        (
            "create table kept as select entity, deleted from redline.entities where entity_type = 'row' order by entity limit 1;
             update redline.entities e set deleted = not k.deleted from kept k where k.entity = e.entity",
            "update redline.entities e set deleted = k.deleted from kept k where k.entity = e.entity; drop table kept",
            "past",
            "what is kept of its past is otherwise",
        ),
    ] {
        redline.execute(damage).await;
        let ended = redline.run(&["rederive"]).await;
        assert_eq!(ended.code, 3, "{damage}: {}{}", ended.stdout, ended.stderr);
        assert!(
            ended.stdout.contains(&format!(": {what} ")) && ended.stdout.contains(found),
            "{damage}: {}",
            ended.stdout
        );
        let ended = redline.run(&["rederive", "--json"]).await;
        let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert!(json["differing"].as_u64() > Some(0), "{json}");
        redline.execute(mend).await;
        let told = redline.succeed(&["rederive"]).await;
        assert!(told.ends_with("\nNo difference.\n"), "mended: {told}");
    }
    redline.remove().await;
}
