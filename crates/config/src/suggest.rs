//! "Did you mean …?"

/// The candidate that is most like the word, where one is like it enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().min(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A sentence of help for a word that is not known.
pub fn help<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    // Words of absurd length are not compared: the comparison is quadratic.
    let near = if word.len() > 100 { None } else { nearest(word, candidates.clone()) };
    if let Some(near) = near {
        return format!("did you mean `{near}`?");
    }
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    match all.len() {
        0 => String::new(),
        1..=40 => format!("known here: {}", all.join(", ")),
        _ => String::new(),
    }
}
