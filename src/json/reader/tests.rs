use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(body: &str) -> Result<Value, Fault> {
    parse(body.as_bytes(), &[]).map(Value::Object)
}

#[test]
fn each_fault_is_told_by_what_it_is() {
    let told = |body: &[u8]| parse(body, &["exp"]).unwrap_err().to_string();
    for (body, text) in [
        (&b""[..], "it is empty"),
        (b" \n", "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"\xff\xfe{\0}\0", "it is UTF-16, and JSON is UTF-8"),
        (b"\xfe\xff\0{\0}", "it is UTF-16, and JSON is UTF-8"),
        (b"{\"a\":\"\xff\"}", "it is not UTF-8, as JSON is"),
        (b"{\"a\":1", "it is not JSON: it ends too early"),
        (b"{\"a\":tru", "it is not JSON: it ends too early"),
        (b"{\"a", "it is not JSON: it ends too early"),
        (b"<html>", "it is not JSON: the fault is near line 1, column 1"),
        (b"{\"a\":01}", "it is not JSON: the fault is near line 1, column 7"),
        (b"{'a':1}", "it is not JSON: the fault is near line 1, column 2"),
        (b"{\"a\":1}{}", "it is not JSON: the fault is near line 1, column 8"),
        (b"{\n\"a\":\n  secret}", "it is not JSON: the fault is near line 3, column 3"),
        // Of a text that is broken, nothing else is told.
        (br#"{"exp":1e400,"a":1,"a":["#, "it is not JSON: it ends too early"),
        (b"[{\"a\":1}]", "it is JSON, but not an object"),
        (b"null", "it is JSON, but not an object"),
        (br#"{"a":1,"\u0061":"b"}"#, "an object holds a member twice, the second time before byte 19"),
        (br#"{"b":[{"a":1,"a":1}]}"#, "an object holds a member twice, the second time before byte 18"),
        (br#"{"$serde_json::private::Number":"1"}"#, "a member has a name that begins with `$serde_json::private::`"),
        (br#"{"exp":["\ud800"]}"#, "`exp`, which decides, holds half a character (a lone surrogate)"),
        (br#"{"exp":1e400}"#, "`exp`, which decides, holds a number beyond what 64 bits hold"),
    ] {
        assert_eq!(told(body), text);
    }
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert_eq!(read(&nested(33)), Err(Fault::TooDeep));
    assert_eq!(read(&nested(100_000)), Err(Fault::TooDeep));
    let deepest = read(&nested(32)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&deepest.to_string()).unwrap(), deepest, "it is read back");
}

#[test]
fn what_nobody_needs_may_be_damaged() {
    for (body, value) in [
        (r#"{"a":"x\ud83d"}"#, json!({"a": "x\u{fffd}"})),
        (r#"{"a":"\ude00\ud83dx"}"#, json!({"a": "\u{fffd}\u{fffd}x"})),
        (r#"{"a":"\ud83d\n\ud83d\ud83d\ude00"}"#, json!({"a": "\u{fffd}\n\u{fffd}\u{1f600}"})),
        (r#"{"a":["\ud83d\u0041"],"exp":1}"#, json!({"a": ["\u{fffd}A"], "exp": 1})),
        (r#"{"\ud83d":1e400,"a":-1e400}"#, json!({"\u{fffd}": null, "a": null})),
    ] {
        assert_eq!(parse(body.as_bytes(), &["exp"]).map(Value::Object), Ok(value), "{body}");
    }
    assert_eq!(parse(b"\xef\xbb\xbf {\"a\":1}\n", &[]).map(Value::Object), Ok(json!({"a": 1})));
    // What is stated as nothing is not damaged.
    assert_eq!(parse(br#"{"exp":null,"a":0.5}"#, &["exp"]).map(Value::Object), Ok(json!({"exp": null, "a": 0.5})));
    // A member of that name within another decides nothing.
    assert!(parse(br#"{"a":{"exp":1e400}}"#, &["exp"]).is_ok());
}

#[test]
fn texts_and_numbers_are_read_as_they_are_meant() {
    let body = r#"{"t":"\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00😀","e":[],"o":{},"n":[true,false,null],"i":[0,-1,9223372036854775807,18446744073709551615],"f":[0.5,-1.25e2,1E+2,2e-1]}"#;
    let value = json!({
        "t": "\"\\/\u{8}\u{c}\n\r\téé😀😀", "e": [], "o": {}, "n": [true, false, null],
        "i": [0, -1, i64::MAX, u64::MAX], "f": [0.5, -125.0, 100.0, 0.2]
    });
    assert_eq!(read(body), Ok(value));
    let beyond = read(r#"{"a":18446744073709551616}"#).unwrap();
    assert_eq!(beyond["a"].as_f64(), Some(18_446_744_073_709_551_616.0));
    assert_eq!(beyond["a"].as_i64(), None);
    let negative = read(r#"{"a":-0}"#).unwrap();
    assert!(negative["a"].is_f64() && negative["a"].as_f64().is_some_and(f64::is_sign_negative));
    for bad in ["+1", "1.", ".5", "1e", "-", "01", "0x1", "NaN", "Infinity", "1_0"] {
        assert!(read(&format!("{{\"a\":{bad}}}")).is_err_and(Fault::is_not_json), "{bad}");
    }
    for bad in ["\"\u{1}\"", "\"\n\"", r#""\x""#, r#""\u12""#, r#""\u+123""#, "'a'", "\"a"] {
        assert!(read(&format!("{{\"a\":{bad}}}")).is_err_and(Fault::is_not_json), "{bad}");
    }
    for bad in [
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{\"a\":[1,]}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":\u{a0}1}",
        "{]",
        "// x",
    ] {
        assert!(read(bad).is_err_and(Fault::is_not_json), "{bad}");
    }
}

/// As two readers have it, of which one may round a float to its neighbour.
fn are_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (a, b) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            one == other || (a - b).abs() <= (a.abs() * f64::EPSILON * 2.0).max(f64::MIN_POSITIVE)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| are_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| are_alike(one, other)))
        }
        (one, other) => one == other,
    }
}

/// A JSON text, and what is almost one: with what the careful reader alone takes, and what neither takes.
fn almost_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        ".{0,6}".prop_map(|text| json!(text).to_string()),
        prop::sample::select(vec![
            "true",
            "false",
            "null",
            "-0",
            "0.5",
            "1e400",
            "18446744073709551616",
            r#""\ud83d""#,
            r#""\ud83d\ude00""#,
            r#""\u0061""#,
            "\"\u{1}\"",
            "01",
            "tru",
            "",
        ])
        .prop_map(str::to_owned),
    ];
    let name = prop::sample::select(vec!["a", "b", "c", r"\u0061", r"\ud83d", "$serde_json::private::Number", "é"]);
    let value = leaf.prop_recursive(40, 60, 3, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..3).prop_map(|members| {
            let members = members.iter().map(|(name, value)| format!("\"{name}\": {value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        });
        prop_oneof![
            3 => members,
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(|values| format!("[{}]", values.join(" ,"))),
        ]
    });
    let levels = prop_oneof![4 => Just(0_usize), 1 => 28..36_usize];
    (value, levels).prop_map(|(value, levels)| format!("{}{value}{}", "{\"n\":".repeat(levels), "}".repeat(levels)))
}

#[test]
fn what_is_plain_is_read_in_one_pass_and_nothing_else_is() {
    let same = |text: &str| plain::object(text).map(Ok) == Some(with_care(text, &[]));
    let text = r#" {"iss":"é\u00e9\n\ud83d\ude00","a":[{},[],true,false,null,""],"":{"a":"a"}} "#;
    assert!(same(text), "{text}");
    // A feature of serde_json, which the tests run with too, may hand out numbers as texts.
    let may_be_texts = serde_json::from_str::<Value>("1e400").is_ok();
    let numbers = r#"{"a":[0,-1,1700000000,-9223372036854775808,9223372036854775808,18446744073709551615]}"#;
    assert!(same(numbers) || may_be_texts);
    let objects = |levels: usize| format!("{}null{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let arrays = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(same(&objects(32)) && same(&arrays(32)));
    for text in [&*objects(33), &*arrays(33), "", "[]", "{", r#"{"a":null}x"#, r#"{"a":null,"\u0061":null}"#] {
        assert_eq!(plain::object(text), None, "{text}");
    }
    for value in
        ["0.5", "-0", "1e2", "18446744073709551616", "1e400", r#""\ud83d""#, r#"{"$serde_json::private::X":""}"#]
    {
        assert_eq!(plain::object(&format!("{{\"a\":[{value}]}}")), None, "{value}");
    }
}

proptest! {
    #[test]
    fn whatever_is_plain_is_the_same_to_the_careful_reader(text in almost_json()) {
        if let Some(plain) = plain::object(&text) {
            prop_assert_eq!(Ok(plain), with_care(&text, &[]));
        }
    }

    #[test]
    fn whatever_it_reads_serde_reads_too_and_as_the_same(text in r#"(\{"[a-c]":)?([-0-9.eE+]{0,8}|["\\/ubnd08Fa\[\]{},:tre ]{0,16})\}?"#) {
        let ours = parse(text.as_bytes(), &[]).map(Value::Object);
        match (ours, serde_json::from_str::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert!(are_alike(&ours, &theirs), "{} {}", ours, theirs),
            (Ok(_), Err(_)) => prop_assert!(text.contains("\\u") || text.contains(['e', 'E']), "{}", text),
            (Err(fault), Ok(theirs)) => {
                prop_assert!(!theirs.is_object() || matches!(fault, Fault::Twice { .. }), "{} {:?}", text, fault);
            }
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn what_serde_writes_is_read_as_it_was(values in prop::collection::btree_map(".{0,6}", any::<(Option<f64>, String, i64)>(), 0..5)) {
        let text = serde_json::to_string(&values).unwrap();
        let theirs: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(are_alike(&read(&text).unwrap(), &theirs));
    }
}
