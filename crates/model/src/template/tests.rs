use super::*;

struct Fixed;

impl Variables for Fixed {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "host" => Some("a.test".into()),
            "1" => Some("one".into()),
            _ => None,
        }
    }
}

#[test]
fn variables_are_filled_in_and_unknown_ones_are_empty() {
    for (text, value) in [
        ("https://$host/x", "https://a.test/x"),
        ("${host}y", "a.testy"),
        ("$10", "one0"),
        ("costs 5$", "costs 5$"),
        ("$nothing|", "|"),
        ("", ""),
        ("plain", "plain"),
    ] {
        assert_eq!(text.parse::<Template>().unwrap().expand(&Fixed), value, "{text}");
    }
    assert!("${host".parse::<Template>().is_err());
}

#[test]
fn a_template_is_written_so_that_it_reads_the_same() {
    for text in ["https://$host/x", "$1$2", "a$b c", "5$"] {
        let template: Template = text.parse().unwrap();
        assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
    }
}

#[test]
fn a_dollar_before_a_name_is_written_so_that_it_stays_a_dollar() {
    for (text, literal) in [("${}host", "$host"), ("a$", "a$"), ("${}{x}", "${x}"), ("$-$", "$-$")] {
        let template: Template = text.parse().unwrap();
        assert_eq!(template.literal(), Some(literal), "{text}");
        assert_eq!(template.to_string().parse::<Template>().unwrap(), template, "{text}");
    }
}
