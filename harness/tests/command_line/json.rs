//! What `--json` prints is JSON whatever happens, and `docs/json.md` describes it.

use crate::folder;

/// Every field of a document and of its failures stands in the page on them.
pub(crate) fn is_described(json: &serde_json::Value, page: &str) {
    let failures = json["failures"].as_array().into_iter().flatten();
    let objects = failures.chain([json, &json["counts"]]);
    for object in objects.filter_map(serde_json::Value::as_object) {
        for field in object.keys() {
            assert!(page.contains(&format!("`{field}`")), "docs/json.md does not have {field}");
        }
    }
}

#[test]
fn json_is_json_whatever_happens() {
    let folder = folder();
    let rows: &[(&str, i32, &str)] = &[
        ("check --json routed good", 0, "ok"),
        ("check --json routed failing missing", 1, "failure"),
        ("check --json routed missing", 2, "error"),
        ("run --json kmalloc --ops 1", 0, "ok"),
        ("sweep --json kmalloc --traces 1", 0, "ok"),
        ("show --json routed good", 0, "ok"),
        ("callers --json krealloc --seeds 1", 0, "ok"),
        ("callers --json missing", 2, "error"),
        ("show --json routed failing", 1, "failure"),
        ("show --json routed missing", 2, "error"),
        ("shrink --json routed failing", 1, "failure"),
        ("shrink --json routed failing -o no-such-folder/small", 1, "failure"),
        ("shrink --json routed good", 2, "error"),
        ("replay --json missing", 2, "error"),
        ("sweep --json missing", 2, "error"),
    ];
    let page = include_str!("../../../docs/json.md");
    for (line, code, verdict) in rows {
        let said = folder.line(line);
        assert_eq!(said.code, Some(*code), "{line}: {said:#?}");
        let json: serde_json::Value = serde_json::from_str(&said.out).expect(line);
        assert_eq!(json["verdict"], *verdict, "{line}");
        is_described(&json, page);
        let nr = |name: &str| json[name].as_array().map(Vec::len);
        assert_eq!(nr("failures"), Some(usize::from(*code == 1)), "{line}");
        assert_eq!(
            nr("errors") > Some(0),
            line.contains("missing") || *code == 2 || line.contains("no-such"),
            "{line}"
        );
    }
    let said = folder.line("show --json routed failing");
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("a document");
    let row = &json["rows"][1];
    assert_eq!((&row["op"], &row["objected"]), (&1.into(), &true.into()), "{row}");
    assert!(
        row["answers"]["as-written"].as_str().is_some_and(|said| said.contains("Pages")),
        "{row}"
    );
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(2), "the failing row is the last");
    let fields = row.as_object().expect("a row").keys();
    fields.for_each(|field| assert!(page.contains(&format!("`{field}`")), "{field}"));
    let said = folder.line("reach --json kmalloc --ops 1");
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("a document");
    assert_eq!((said.code, &json["verdict"]), (Some(1), &"failure".into()));
    is_described(&json, page);
    assert_eq!(json["unreached"]["a machine of 64 frames"], serde_json::json!(["kmalloc"]));
    assert!(json["reached"]["a block of order 10"]["kmalloc"].is_u64());
}
