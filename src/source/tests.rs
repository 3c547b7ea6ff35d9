use proptest::prelude::*;

use super::*;

fn parts(headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn found_by(sources: &TokenSources, mut request: Parts) -> Result<Option<String>, MalformedToken> {
    let found = sources.find(&mut request).map(|found| found.map(|found| found.token.expose().to_owned()));
    sources.mark_sensitive(&mut request);
    assert!(found.is_err() || request.headers.values().all(HeaderValue::is_sensitive));
    found
}

fn found(headers: &[(&str, &str)]) -> Result<Option<String>, MalformedToken> {
    let other = "x-access-token";
    let sources = TokenSources {
        others: vec![Arc::new(TokenHeader::new(HeaderName::from_static(other)))],
        ..TokenSources::default()
    };
    let found = found_by(&sources, parts(headers));
    if !headers.iter().any(|(name, _)| *name == other) {
        assert_eq!(found, found_by(&TokenSources::default(), parts(headers)), "with one source and with two");
    }
    found
}

#[test]
fn the_scheme_is_matched_in_any_case_and_may_be_followed_by_several_spaces() {
    for value in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR   abc"] {
        assert_eq!(found(&[("authorization", value)]), Ok(Some("abc".into())), "{value}");
    }
}

#[test]
fn another_scheme_or_no_header_is_no_token() {
    for value in ["Basic abc", "Bearerish abc", "Bearer-x abc", "DPoP abc", "Bear", ""] {
        assert_eq!(found(&[("authorization", value)]), Ok(None), "{value}");
    }
    assert_eq!(found(&[]), Ok(None));
}

#[test]
fn whatever_else_follows_the_scheme_is_malformed() {
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer\tabc",
        "Bearer:abc",
        "Bearer a, Bearer b",
        "Bearer \u{e4}",
    ] {
        assert_eq!(found(&[("authorization", value)]), Err(MalformedToken::Syntax), "{value:?}");
    }
}

/// HTTP/1 takes blanks at both ends away. Over HTTP/2 they arrive, though RFC 9113 section 8.2.1 forbids them.
#[test]
fn a_value_that_does_not_begin_with_a_scheme_is_malformed_and_not_of_another_scheme() {
    for value in [
        " Bearer abc",
        "\tBearer abc",
        "  bearer abc",
        " Basic abc",
        " Bear",
        " ",
        "\t",
        "\"Bearer abc\"",
        ", Bearer abc",
        "=",
    ] {
        assert_eq!(found(&[("authorization", value)]), Err(MalformedToken::Syntax), "{value:?}");
    }
    // What some readers take for a blank: a no-break space and a byte order mark.
    for value in [&b"\xa0Bearer abc"[..], b"\xc2\xa0Bearer abc", b"\xef\xbb\xbfBearer abc"] {
        assert_eq!(find_bytes(value), Err(MalformedToken::Syntax), "{value:?}");
    }
}

#[test]
fn a_blank_at_the_end_is_malformed_after_a_token_and_nothing_here_after_another_scheme() {
    for value in ["Bearer abc ", "Bearer abc\t", "Bearer  ", "Bearer\t", "Bearer abc\u{a0}"] {
        assert_eq!(found(&[("authorization", value)]), Err(MalformedToken::Syntax), "{value:?}");
    }
    assert_eq!(found(&[("authorization", "Basic abc ")]), Ok(None));
}

#[test]
fn a_blank_around_the_token_in_a_header_of_its_own_is_malformed_and_around_a_cookie_means_nothing() {
    for value in [" abc", "abc ", "\tabc", "abc\t", " "] {
        assert_eq!(found(&[("x-access-token", value)]), Err(MalformedToken::Syntax), "{value:?}");
    }
    let cookie = TokenCookie::new("token").unwrap();
    let found_in = |value: &str| {
        let request = parts(&[("cookie", value)]);
        cookie.find(&RequestView::new(&request)).map(|text| text.map(Cow::into_owned))
    };
    for value in [" token=abc", "\ttoken=abc", "token=abc ", "token=abc\t", "a=b;\ttoken=abc", "token = abc"] {
        assert_eq!(found_in(value), Ok(Some("abc".into())), "{value:?}");
    }
    assert_eq!(found_in("token=\" abc\""), Ok(Some(" abc".into())), "malformed as a token");
}

#[test]
fn two_headers_or_two_places_are_refused() {
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
    assert_eq!(found(&twice), Err(MalformedToken::Repeated));
    assert_eq!(found(&[("x-access-token", "a"), ("x-access-token", "b")]), Err(MalformedToken::Repeated));
    assert_eq!(found(&[("authorization", "Bearer a"), ("x-access-token", "a")]), Err(MalformedToken::Repeated));
    assert_eq!(found(&[("authorization", "Basic a"), ("x-access-token", "a")]), Ok(Some("a".into())));
}

#[test]
fn a_token_header_holds_the_bare_token() {
    assert_eq!(found(&[("x-access-token", "abc")]), Ok(Some("abc".into())));
    assert_eq!(found(&[("x-access-token", "Bearer abc")]), Err(MalformedToken::Syntax));
    assert_eq!(found(&[("x-access-token", "")]), Err(MalformedToken::Syntax));
}

#[test]
fn the_length_limit_is_the_layers() {
    let sources = TokenSources { max_length: 3, ..TokenSources::default() };
    let find = |value: &str| found_by(&sources, parts(&[("authorization", value)])).map(|token| token.is_some());
    assert_eq!(find("Bearer abc"), Ok(true));
    assert_eq!(find("Bearer abcd"), Err(MalformedToken::TooLong));
}

#[test]
fn however_many_sources_there_are_the_header_is_judged_alike() {
    let other: Arc<dyn TokenSource> = Arc::new(TokenHeader::new(HeaderName::from_static("x-access-token")));
    let (one, two) = (TokenSources::default(), TokenSources { others: vec![other], ..TokenSources::default() });
    for (byte, length, expected) in [(0xff, 10, MalformedToken::Syntax), (0xff, 5_000, MalformedToken::TooLong)] {
        let value = HeaderValue::from_bytes(&[b"Bearer ", vec![byte; length].as_slice()].concat()).unwrap();
        let mut request = http::Request::builder().header("authorization", value).body(()).unwrap().into_parts().0;
        for sources in [&one, &two] {
            assert_eq!(sources.find(&mut request).map(|_| ()), Err(expected));
        }
    }
}

#[test]
fn a_closure_finds_a_token_anywhere_in_the_request() {
    let source = token_source_fn(|request| request.path().strip_prefix("/feeds/").map(Into::into));
    let request = http::Request::builder().uri("/feeds/abc").body(()).unwrap().into_parts().0;
    assert_eq!(source.find(&RequestView::new(&request)), Ok(Some("abc".into())));
    assert_eq!(source.find(&RequestView::new(&parts(&[]))), Ok(None));
}

fn find_bytes(value: &[u8]) -> Result<Option<String>, MalformedToken> {
    let value = HeaderValue::from_bytes(value).unwrap();
    let request = http::Request::builder().header("authorization", value).body(()).unwrap().into_parts().0;
    found_by(&TokenSources::default(), request)
}

proptest! {
    #[test]
    fn a_bearer_header_gives_exactly_its_token(
        scheme in "[bB][eE][aA][rR][eE][rR]",
        spaces in 1..4_usize,
        token in "[A-Za-z0-9_~+/-][A-Za-z0-9._~+/-]{0,60}={0,3}",
    ) {
        let value = format!("{scheme}{}{token}", " ".repeat(spaces));
        prop_assert_eq!(find_bytes(value.as_bytes()), Ok(Some(token)));
    }

    #[test]
    fn whatever_is_found_in_any_header_is_its_tail_and_is_token68(value in "([bB]earer ?)?[ -~\u{80}-\u{ff}]{0,40}") {
        if let Ok(Some(token)) = find_bytes(value.as_bytes()) {
            prop_assert!(value[.."Bearer".len()].eq_ignore_ascii_case("Bearer"));
            prop_assert_eq!(value["Bearer".len()..].trim_start_matches(' '), token.as_str());
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)));
            prop_assert!(token != "." && token != "..");
        }
    }
}

fn query(uri: &str) -> Result<Option<String>, MalformedToken> {
    let request = http::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
    TokenQueryParameter.find(&RequestView::new(&request)).map(|text| text.map(Cow::into_owned))
}

#[test]
fn a_query_parameter_holds_the_token_percent_encoded_or_not() {
    assert_eq!(query("/x?access_token=a%2Bb+c&y=1"), Ok(Some("a+b+c".into())));
    assert_eq!(query("https://h/x?y=1&access%5Ftoken=abc"), Ok(Some("abc".into())));
    assert_eq!(query("/x?access_token"), Ok(Some(String::new())), "malformed by what it says, not overlooked");
    assert_eq!(query("/x?access_token=%ff"), Err(MalformedToken::Syntax));
    assert_eq!(query("/x?access_token=a&access_token=a"), Err(MalformedToken::Repeated));
    assert_eq!(query("/x?access_token=a&%61ccess_token=b"), Err(MalformedToken::Repeated));
    for none in ["/x", "/x?", "/access_token=a", "/x?ACCESS_TOKEN=a", "/x?my_access_token=a", "/x?y=access_token=a"] {
        assert_eq!(query(none), Ok(None), "{none}");
    }
}

#[test]
fn a_query_parameter_is_taken_out_and_the_rest_of_the_target_stays() {
    for (uri, left) in [
        ("/x?access_token=a", "/x"),
        ("/x?y=1&access_token=a&z=%20", "/x?y=1&z=%20"),
        ("https://h:1/x?access%5Ftoken=a&y", "https://h:1/x?y"),
        ("/x?y=1", "/x?y=1"),
        ("/x", "/x"),
    ] {
        let mut request = http::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        TokenQueryParameter.remove(&mut request);
        assert_eq!(request.uri, left, "{uri}");
    }
}

#[test]
fn a_cookie_holds_the_token_in_whichever_header_it_stands() {
    let cookie = TokenCookie::new("token").unwrap();
    let found = |headers: &[(&str, &str)]| {
        cookie.find(&RequestView::new(&parts(headers))).map(|text| text.map(Cow::into_owned))
    };
    assert_eq!(found(&[("cookie", "a=b; token=abc; c=d")]), Ok(Some("abc".into())));
    assert_eq!(found(&[("cookie", "a=b"), ("cookie", "token=\"abc\"")]), Ok(Some("abc".into())));
    assert_eq!(found(&[("cookie", "token=")]), Ok(Some(String::new())), "malformed by what it says, not overlooked");
    assert_eq!(found(&[("cookie", "token=a; token=a")]), Err(MalformedToken::Repeated));
    assert_eq!(found(&[("cookie", "token=a"), ("cookie", "token=b")]), Err(MalformedToken::Repeated));
    for none in ["a=token=b", "mytoken=a", "token2=a", "Token=a", "token", ""] {
        assert_eq!(found(&[("cookie", none)]), Ok(None), "{none}");
    }
    assert_eq!(found(&[]), Ok(None));
}

#[test]
fn a_name_that_no_cookie_has_is_refused() {
    for bad in ["", "a b", "a=b", "a;b", "\u{e4}"] {
        assert_eq!(TokenCookie::new(bad).unwrap_err().setting(), "name", "{bad:?}");
    }
}

#[test]
fn a_cookie_is_marked_and_taken_out_and_the_others_stay() {
    let cookie = TokenCookie::new("token").unwrap();
    let left = |headers: &[(&str, &str)]| {
        let mut request = parts(headers);
        cookie.mark_sensitive(&mut request);
        assert!(request.headers.get_all("cookie").iter().all(HeaderValue::is_sensitive));
        cookie.remove(&mut request);
        let values = request.headers.get_all("cookie").iter().map(|value| value.to_str().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    assert_eq!(left(&[("cookie", "a=b; token=abc;c=d")]), ["a=b; c=d"]);
    assert_eq!(left(&[("cookie", "token=abc")]), Vec::<String>::new());
    assert_eq!(left(&[("cookie", "token=abc"), ("cookie", "a=b")]), ["a=b"]);
    assert_eq!(left(&[]), Vec::<String>::new());
}
