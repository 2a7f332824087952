//! What the comparison sees, and what files keep.

use redline_simulator::{Order, Simulation, SimulationSettings, Truth, check, compare, read_lines};
use serde_json::{Value, json};

fn found() -> (Simulation, Vec<Value>, Vec<Value>) {
    let simulation = Simulation::new(SimulationSettings {
        seed: 2,
        rows: 150,
        ..SimulationSettings::default()
    });
    let values = |value: Value| value.as_array().cloned().unwrap();
    let changes = values(serde_json::to_value(&simulation.truth.changes).unwrap());
    let flags = values(serde_json::to_value(&simulation.truth.flags).unwrap());
    (simulation, changes, flags)
}

#[test]
fn the_truth_itself_is_clean_also_in_other_words() {
    let (simulation, mut changes, mut flags) = found();
    for value in changes.iter_mut().chain(&mut flags) {
        let fields = value.as_object_mut().unwrap();
        fields.remove("score");
        fields.insert("rules_hash".to_string(), json!("abc"));
        if let Some(Value::String(impact)) = fields.get("impact").cloned() {
            let text = if impact.contains('.') {
                format!("{impact}0")
            } else {
                format!("{impact}.000")
            };
            fields.insert("impact".to_string(), json!(text));
        }
        let time = fields["modified_at"].as_str().unwrap().replace('Z', "+00:00");
        fields.insert("modified_at".to_string(), json!(time));
    }
    flags.push(json!({"flag_id": "gone", "status": "withdrawn", "kind": "late_row", "source": "billing"}));
    flags.push(json!({"flag_id": "else", "status": "standing", "kind": "late_row", "source": "other"}));
    let report = compare(&simulation.truth, &changes, &flags);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_missing_a_surplus_and_a_different_one_are_told_by_kind() {
    let (simulation, mut changes, mut flags) = found();
    let place = |kind: &str, flags: &[Value]| flags.iter().position(|flag| flag["kind"] == kind).unwrap();
    flags.remove(place("late_row", &flags));
    let other = place("reversion", &flags);
    flags[other]["risk"] = json!("NONE");
    flags[other]["editor"] = json!("nobody");
    flags.push(json!({"flag_id": "x", "status": "standing", "kind": "row_moved", "entity_id": "R-77777"}));
    changes[0]["impact"] = json!("123456.7");
    let twice = changes[1].clone();
    changes.push(twice);

    let report = compare(&simulation.truth, &changes, &flags);
    assert!(!report.is_clean());
    let counts = |kind: &str| {
        let kind = &report.kinds[kind];
        (kind.missing, kind.surplus, kind.different)
    };
    assert_eq!(counts("late_row"), (1, 0, 0));
    assert_eq!(counts("reversion"), (0, 0, 1));
    assert_eq!(counts("row_moved"), (0, 1, 0));
    assert_eq!(counts("lock_change"), (0, 0, 0));
    assert_eq!(counts(check::CHANGES), (0, 1, 1));
    assert!(report.kinds["late_row"].planted > 0);
    let example = &report.kinds["reversion"].different_examples[0];
    assert!(example.contains("editor is \"nobody\", not ") && example.contains("risk is \"NONE\""));

    let text = report.to_string();
    assert!(text.starts_with("kind"), "{text}");
    assert!(
        text.contains("row_moved, surplus (1):\n  entity_id R-77777"),
        "{text}"
    );
    assert!(text.contains("impact is \"123456.7\", not "), "{text}");
}

#[test]
fn at_most_five_examples_are_kept() {
    let (simulation, changes, _) = found();
    let report = compare(&simulation.truth, &changes, &[]);
    let kind = &report.kinds["retroactive_change"];
    assert!(kind.missing > 5 && kind.missing_examples.len() == 5 && kind.missing == kind.expected);
}

#[test]
fn files_keep_the_truth_and_every_event_with_its_duplicates() {
    let (simulation, _, _) = found();
    let folder = std::env::temp_dir().join(format!("redline-simulator-{}", std::process::id()));
    simulation.write_to(&folder, Order::Shuffled(5)).unwrap();
    assert_eq!(
        Truth::from_file(&folder.join("truth.json")).unwrap(),
        simulation.truth
    );
    let events: Vec<Value> = read_lines(&folder.join("events.ndjson"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(events.len(), simulation.arriving_events(Order::Shuffled(5)).len());
    let facts = read_lines(&folder.join("facts.ndjson")).unwrap().count();
    assert_eq!(facts, simulation.facts.len());
    assert!(
        std::fs::read_to_string(folder.join("rules.toml"))
            .unwrap()
            .contains("[sources.billing]")
    );
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        Truth::from_file(&folder.join("truth.json"))
            .unwrap_err()
            .to_string()
            .contains("truth.json")
    );
}
