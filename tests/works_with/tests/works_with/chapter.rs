//! The chapter shows code of these modules, and nothing else.

/// Without what a block is indented by.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[test]
fn every_snippet_of_the_chapter_is_code_of_these_tests() {
    let modules = [
        include_str!("hyper.rs"),
        include_str!("lambda.rs"),
        include_str!("logout.rs"),
        include_str!("../opentelemetry.rs"),
        include_str!("salvo.rs"),
        include_str!("tower_http.rs"),
        include_str!("utoipa.rs"),
        include_str!("websocket.rs"),
    ]
    .map(lines);
    let chapter = include_str!("../../../../docs/works-with.md");
    let blocks: Vec<_> = chapter.split("```rust").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(blocks.len() >= modules.len(), "one of each module: {}", blocks.len());
    for block in blocks {
        let (attributes, code) = block.split_once('\n').unwrap();
        assert_eq!(attributes, ",ignore", "of other crates, which the documentation does not build");
        let code = lines(code.trim());
        let is_there = modules.iter().any(|module| module.windows(code.len()).any(|window| window == code));
        assert!(is_there, "no module has this: {}", code.join("\n"));
    }
}
