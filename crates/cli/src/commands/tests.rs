use super::*;

/// Walks the whole command line.
fn walk(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Arg)) {
    for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
        if !matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::Version) {
            visit(path, argument);
        }
    }
    for inner in command.get_subcommands() {
        walk(inner, &format!("{path} {}", inner.get_name()), visit);
    }
}

/// Options without an environment variable: none may be added, and what gets one is taken out.
const STILL_WITHOUT: &[&str] = &[
    "handfast ca rotate start --intermediate",
    "handfast ca rotate confirm --bundles",
    "handfast ca rotate confirm --all-have-it",
    "handfast ca crl --force",
    "handfast ca import --cert",
    "handfast ca import --key",
    "handfast ca import --chain",
    "handfast cert issue --server",
    "handfast cert issue --client",
    "handfast cert issue --both",
    "handfast cert issue --force",
    "handfast cert sign --name",
    "handfast cert sign --grant-requested",
    "handfast cert sign --server",
    "handfast cert sign --client",
    "handfast cert sign --both",
    "handfast cert sign --force",
    "handfast cert list --status",
    "handfast cert list --expiring",
    "handfast cert list --all",
];

#[test]
fn every_option_has_an_environment_variable() {
    let mut without = Vec::new();
    walk(&command(), "handfast", &mut |path, argument| match argument.get_env() {
        // What one of our processes says to another is no person's option.
        None if argument.is_hide_set() => {}
        Some(name) => assert!(name.to_string_lossy().starts_with("HANDFAST_"), "{path} {name:?}"),
        None => without.push(format!("{path} --{}", argument.get_id().as_str().replace('_', "-"))),
    });
    let new: Vec<_> = without.iter().filter(|one| !STILL_WITHOUT.contains(&one.as_str())).collect();
    assert!(new.is_empty(), "give these an environment variable HANDFAST_*: {new:#?}");
}

#[test]
fn every_switch_takes_1_and_yes_from_its_environment_variable() {
    let mut switches = 0;
    walk(&command(), "handfast", &mut |path, argument| {
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            switches += 1;
            let parser = format!("{:?}", argument.get_value_parser());
            assert_eq!(
                parser,
                format!("{:?}", clap::builder::ValueParser::from(BoolishValueParser::new())),
                "{path}"
            );
        }
    });
    assert!(switches > 5, "{switches}");
}

#[test]
fn the_command_line_is_sound() {
    command().debug_assert();
}
