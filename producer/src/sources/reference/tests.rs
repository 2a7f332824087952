use super::*;
use redline_schemas::ColumnValue;

const PRICES: &str = "\
Work Order,Task,price,valid_from,valid_until
WO-1,T-1,95.00,2026-01-01,2026-03-01
WO-1,T-1,97.5,2026-03-01,
WO-1,T-2,,,
";

fn keys() -> Vec<String> {
    vec!["Work Order".to_owned(), "Task".to_owned()]
}

fn prices(text: &str) -> Vec<Row> {
    read(text.as_bytes(), &keys()).unwrap().rows
}

fn planned(text: &str, recorded: &[Fact]) -> Result<Plan, Refusals> {
    plan("contract_prices", &prices(text), recorded, "eve")
}

/// The facts that a file makes, as they are recorded.
fn recorded(text: &str) -> Vec<Fact> {
    let plan = planned(text, &[]).unwrap();
    plan.facts.into_iter().map(|(_, fact)| fact).collect()
}

/// What is wrong with a file, a line each.
fn wrong(bytes: &[u8], keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    told(&read(bytes, &keys).unwrap_err())
}

fn told(refusals: &Refusals) -> String {
    let lines = refusals
        .errors
        .iter()
        .map(|LineError { line, field, reason }| format!("line {line}: {field}: {reason}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_file_becomes_facts_with_exact_amounts_and_validity() {
    let facts = recorded(PRICES);
    let canonical: Vec<String> = facts.iter().map(Fact::canonical).collect();
    insta::assert_snapshot!(canonical.join("\n"));
}

#[test]
fn a_key_is_the_column_of_this_name_else_the_first_one() {
    let keys = |text: &str| {
        let rows = read(text.as_bytes(), &[]).unwrap().rows;
        rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
    };
    assert_eq!(keys("name,key\nn,k"), ["k"]);
    assert_eq!(keys("day,name\n2026-07-03,Independence Day"), ["2026-07-03"]);
    assert_eq!(
        keys("pattern\n*@example.com\r\napi-billing\r\n"),
        ["*@example.com", "api-billing"]
    );
}

#[test]
fn a_cell_is_an_amount_when_it_keeps_its_digits_and_else_text() {
    let text = "key,a,b,c,d,e,f,g,h\nk,95.00,007,\" 12 \",N/A,-0.5,2026-03-01,0.25,\n";
    let rows = read(text.as_bytes(), &[]).unwrap().rows;
    let shown: Vec<String> = rows[0]
        .values
        .iter()
        .map(|(name, value)| format!("{name} {value:?}"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_is_almost_a_number_is_refused_with_what_to_write() {
    let cells = [
        "1,234.50",
        "-1,234,567.50",
        "12,34,567.50",
        "1.234,50",
        "12,50",
        "1,234",
        "0,5",
        "1 234.50",
        "1\u{a0}234",
        "1'234.50",
        "$95.00",
        "95 €",
        "-$5",
        "$-5",
        "12%",
        "+5",
        "+1,234.5",
        ".5",
        "-.5",
        "5.",
        "(95.00)",
        "95.00-",
        "−95",
        "- 5",
        "1.5E+10",
        "-1E-3",
        "1.5e400",
        "1.12345678901",
        "1,234.12345678901",
        "123456789012345678901234567890123",
    ];
    let lines = cells.map(|cell| format!("k,\"{cell}\"\n"));
    insta::assert_snapshot!(wrong(format!("key,price\n{}", lines.concat()).as_bytes(), &[]));
}

#[test]
fn texts_of_digits_stay_texts() {
    let cells = [
        "007",
        "-007",
        "00.5",
        "2026-03-01",
        "2026-03-01T05:00:00Z",
        "WO-1",
        "1-2",
        "12:30",
        "192.168.1.1",
        "1.200.300",
        "1,2,3",
        "101, 102",
        "03/01/2026",
        "+4917012345678",
        "+49 170 123 456",
        "1E5",
        "030 123 456",
        "-",
        ".",
        "%",
        "()",
        "NaN",
        "5 kg",
        "$",
        "#5",
        "0x1F",
        "½",
    ];
    let long = "1.".repeat(300);
    for cell in cells.into_iter().chain([long.as_str()]) {
        let rows = read(format!("key,note\nk,\"{cell}\"\n").as_bytes(), &[])
            .unwrap()
            .rows;
        assert_eq!(rows[0].values["note"], ColumnValue::Text(cell.to_owned()));
    }
}

#[test]
fn a_misquoted_cell_is_named() {
    let text = "key,note,valid_from\nk,\"A\"B,\nl,A\"B,\n\"m\n\",x, \"2026-03-01\"\nn,\"a \"\"b\"\"\",\n\"o\" ,\"\",\n";
    insta::assert_snapshot!(wrong(text.as_bytes(), &[]));
    insta::assert_snapshot!(wrong(b"key,my\"note\nk,1\n", &[]));
}

#[test]
fn a_header_that_is_almost_another_is_refused() {
    let text = b"key,Valid From,VALID_UNTIL,valid-from,valid_until ,Price,price,valid_from\nk\n";
    insta::assert_snapshot!(wrong(text, &[]));
}

#[test]
fn forever_is_an_empty_cell() {
    let text = b"key,valid_from,valid_until\nk,0001-01-01,9999-12-31\nl,,9999-12-31T23:59:59Z\n";
    insta::assert_snapshot!(wrong(text, &[]));
}

#[test]
fn a_control_character_is_one_of_the_key() {
    let rows = read(b"key,price\n\"a\nb\",1\n", &[]).unwrap().rows;
    insta::assert_snapshot!(told(&plan("t", &rows, &[], "eve").unwrap_err()));
}

#[test]
fn quotes_may_hold_commas_and_line_breaks_and_lines_are_counted_through_them() {
    let text = "key,note\n\"a\nb\",\"x, \"\"y\"\"\"\n\nc,z\n";
    let rows = read(text.as_bytes(), &[]).unwrap().rows;
    assert_eq!(rows[0].values["note"], ColumnValue::Text("x, \"y\"".to_owned()));
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn a_byte_order_mark_is_refused_with_a_way_to_save_without() {
    insta::assert_snapshot!(wrong(b"\xef\xbb\xbfkey,price\nk,1\n", &[]));
    let utf16 = wrong(b"\xff\xfek\0e\0y\0", &[]);
    assert!(utf16.contains("is UTF-16"), "{utf16}");
}

#[test]
fn latin_1_is_named_with_line_and_column() {
    insta::assert_snapshot!(wrong(b"key,note\nk,\"two\nr\xe9sum\xe9\"\nx,\x80\nl,ok\n", &[]));
    let header = wrong(b"k\xe9y,note\nk,n\n", &[]);
    assert!(
        header.starts_with("line 1: : has in column 2 the byte E9") && !header.contains('\n'),
        "{header}"
    );
}

#[test]
fn records_of_another_shape_than_the_header_are_named() {
    insta::assert_snapshot!(wrong(b"key,price\nk\nl,1,2\nm,3\nn\r4,5\no,\"6\np,7\n", &[]));
}

#[test]
fn a_header_that_cannot_be_used_is_refused_alone() {
    let headers = [
        wrong(b"", &[]),
        wrong(b"\n\n", &[]),
        wrong(b"key;price\nk;1\n", &[]),
        wrong(b"key,,price, note,price\nk\n", &[]),
        wrong(b"Work Order,price\nk\n", &["Work Order", "Task"]),
        wrong(b"valid_from,price\nk\n", &[]),
        wrong(b"key,price\nk\n", &["key", "key"]),
    ];
    insta::assert_snapshot!(headers.join("\n"));
}

#[test]
fn empty_keys_and_bad_dates_are_named() {
    let text = "\
key,price,valid_from,valid_until
,1,,
\" \",1,,
a,1,yesterday,
b,1,2026-02-30,
c,1,2026-03-01T00:00:00,2201-01-01
d,1,2026-03-01,2026-03-01
e,1,2026-03-02,2026-03-01T00:00:00-05:00
f,1,2026-03-01T00:00:00.1234567Z,
g,1,,1900-01-01
h,1,2026-03-01,2026-03-02
";
    insta::assert_snapshot!(wrong(text.as_bytes(), &[]));
}

#[test]
fn white_space_around_a_key_is_taken_to_the_letter_and_said() {
    let table = read(b"key,price\n\"a \",1\nb,2\n", &[]).unwrap();
    assert_eq!((table.rows[0].key.as_str(), table.rows.len()), ("a ", 2));
    assert_eq!(table.warnings.len(), 1);
    assert_eq!(table.warnings[0].line, 2);
}

#[test]
fn the_same_file_again_sends_nothing() {
    let plan = planned(PRICES, &recorded(PRICES)).unwrap();
    assert_eq!((plan.new, plan.changed, plan.unchanged), (0, 0, 3));
    assert_eq!(plan.facts, []);
    let by_another = super::plan("contract_prices", &prices(PRICES), &recorded(PRICES), "ann").unwrap();
    assert_eq!(by_another.unchanged, 3, "who says it again is no new statement");
}

#[test]
fn a_row_that_differs_is_the_next_version_of_its_fact() {
    let mut known = recorded(PRICES);
    known[1].version = 4;
    let more = PRICES.replace("97.5,", "98,") + "WO-2,T-1,10,,\n";
    let plan = planned(&more, &known).unwrap();
    assert_eq!((plan.new, plan.changed, plan.unchanged), (1, 1, 2));
    let sent: Vec<(u64, &str, i64)> = plan
        .facts
        .iter()
        .map(|(line, fact)| (*line, fact.id.as_str(), fact.version))
        .collect();
    assert_eq!(
        sent,
        [
            (3, "contract_prices/[\"WO-1\",\"T-1\"]/2026-03-01", 5),
            (5, "contract_prices/[\"WO-2\",\"T-1\"]/1900", 0)
        ]
    );
}

#[test]
fn duplicates_and_overlaps_within_the_file_are_named() {
    let text = "\
Work Order,Task,price,valid_from,valid_until
A,1,1,2026-01-01,2026-03-01
A,1,2,2026-01-01,2026-04-01
B,1,1,2026-02-01,2026-03-01
B,1,2,2026-01-01,2026-02-02
C,1,1,,
C,1,2,2026-01-01,2026-02-01
C,1,3,2026-05-01,
D,1,1,2026-01-01,2026-02-01
D,1,2,2026-02-01,
D,2,2,2026-01-01,
";
    insta::assert_snapshot!(told(&planned(text, &[]).unwrap_err()));
}

#[test]
fn overlaps_with_recorded_rows_that_are_not_replaced_are_named() {
    let known = recorded(PRICES);
    let header = "Work Order,Task,price,valid_from,valid_until\n";
    let later = format!("{header}WO-1,T-1,99,2026-06-01,\n");
    let earlier = format!("{header}WO-1,T-1,90,2025-06-01,\n");
    let refused = [later.as_str(), &earlier].map(|text| told(&planned(text, &known).unwrap_err()));
    insta::assert_snapshot!(refused.join("\n"));
    let with_the_end = format!("{later}WO-1,T-1,97.5,2026-03-01,2026-06-01\n");
    let plan = planned(&with_the_end, &known).unwrap();
    assert_eq!((plan.new, plan.changed), (1, 1));
    let other_key = format!("{header}WO-9,T-1,99,2026-06-01,\n");
    assert_eq!(planned(&other_key, &known).unwrap().new, 1);
}

#[test]
fn a_row_that_breaks_the_contract_is_named_and_nothing_is_planned() {
    let text = format!("Work Order,Task,price\nWO-1,T-1,1\n{},T-1,1\n", "x".repeat(4_000));
    let refused = planned(&text, &[]).unwrap_err();
    assert_eq!(
        (refused.errors[0].line, refused.errors[0].field.as_str()),
        (3, "key")
    );
}

#[test]
fn an_id_is_never_too_long() {
    let from = Timestamp::parse("2026-03-01T00:00:00.000001Z").unwrap();
    let id = id_of(&"t".repeat(100), &"k".repeat(200), from);
    assert_eq!(id.chars().count(), 200);
    assert_ne!(id, id_of(&"t".repeat(100), &"l".repeat(200), from));
    assert!(check_table(&"t".repeat(100)).is_ok());
    for table in ["", "a/b", "a\nb", &"t".repeat(101)] {
        assert!(check_table(table).is_err(), "{table}");
    }
}

#[test]
fn only_so_many_lines_are_named_and_all_are_counted() {
    let text = format!("key,price\n{}", "x\n".repeat(1_500));
    let refused = read(text.as_bytes(), &[]).unwrap_err();
    assert_eq!((refused.refused, refused.errors.len()), (1_500, 1_000));
}
