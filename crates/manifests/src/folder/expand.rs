//! `$(NAME)` in commands and variables, as Kubernetes has it (k8s.io/kubernetes, third_party/forked/golang/expansion).

/// A text with its references replaced. `$$` is one `$`; a reference to what is not known stays as it is written.
pub fn expand<'v>(text: &str, known: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        whole.push_str(before);
        let behind = &from[1..];
        rest = if let Some(escaped) = behind.strip_prefix('$') {
            whole.push('$');
            escaped
        } else if let Some((name, after)) = behind.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match known(name) {
                Some(value) => whole.push_str(value),
                None => {
                    whole.push_str("$(");
                    whole.push_str(name);
                    whole.push(')');
                }
            }
            after
        } else {
            whole.push('$');
            behind
        };
    }
    whole.push_str(rest);
    whole
}
