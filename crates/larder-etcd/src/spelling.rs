//! Finding a service whatever the case in which it was written.
//!
//! Larder compares names without regard to case, etcd compares keys byte by byte. A name of ten letters
//! has a thousand spellings, of which usually one exists. All but the folded one differ from it first at
//! some letter, so that they lie in as many narrow ranges as the name has letters, its [`branches`]:
//! one question about all of them finds those few, mostly one, in which there is any key. There,
//! *seeking* finds the spellings: a key either is in a spelling's folder, or tells the smallest spelling
//! that can still come.
//!
//! The ranges must be narrow because etcd walks over every key of a range, however few it is asked for.
//!
//! [`branches`]: Spellings::branches
//!
//! Pure. Only for names in ASCII: for others [`Spellings::new`] has no answer, and every key must be
//! looked at.

/// All spellings of one name.
#[derive(Debug)]
pub(crate) struct Spellings {
    folded: String,
    /// For each letter the forms that it may have, in the order of their bytes.
    letters: Vec<Vec<String>>,
}

impl Spellings {
    /// The spellings of a folded name, with `-` for `/`; none if it is not in ASCII.
    pub(crate) fn new(folded: &str) -> Option<Self> {
        folded.is_ascii().then(|| Self {
            folded: folded.to_owned(),
            letters: folded.chars().map(forms).collect(),
        })
    }

    /// Ranges of keys, each from its first up to and without its second, which hold the folders of all
    /// spellings.
    pub(crate) fn branches(&self) -> Vec<(String, String)> {
        let mut branches = vec![(format!("{}/", self.folded), format!("{}0", self.folded))];
        for (place, letter) in self.folded.char_indices() {
            let others = self.letters[place].iter().filter(|form| !form.starts_with(letter));
            let rest = &self.letters[place + 1..];
            let smallest: String = rest.iter().map(|forms| forms[0].as_str()).collect();
            let greatest: String =
                rest.iter().map(|forms| forms[forms.len() - 1].as_str()).collect();
            for other in others {
                let beginning = format!("{}{other}", &self.folded[..place]);
                let range = (format!("{beginning}{smallest}/"), format!("{beginning}{greatest}0"));
                branches.push(range);
            }
        }
        branches
    }

    /// The smallest spelling whose folder ends after `at`: either `at` lies in it, or it is the next to
    /// seek. None if all of them lie before.
    pub(crate) fn at_or_after(&self, at: &str) -> Option<String> {
        let taken = self.spelled_by(at);
        let spelled: usize = taken.iter().map(|form| form.len()).sum();
        let ends_there = at.as_bytes().get(spelled).is_none_or(|next| *next <= b'/');
        if taken.len() == self.letters.len() && ends_there {
            return Some(taken.concat());
        }
        // As much of `at` as can be kept, then the first form beyond what `at` has, then the smallest.
        let last = taken.len().min(self.letters.len().saturating_sub(1));
        (0..=last).rev().find_map(|kept| {
            let beginning = taken[..kept].concat();
            let beyond = &at[beginning.len()..];
            let form = self.letters.get(kept)?.iter().find(|form| form.as_str() > beyond)?;
            let smallest = self.letters[kept + 1..].iter().map(|forms| forms[0].as_str());
            Some(beginning + form + &smallest.collect::<String>())
        })
    }

    /// The forms of the first letters, as far as `at` has them.
    fn spelled_by(&self, at: &str) -> Vec<&str> {
        let mut rest = at;
        let mut taken = Vec::with_capacity(self.letters.len());
        for forms in &self.letters {
            let Some(form) = forms.iter().find(|form| rest.starts_with(form.as_str())) else {
                break;
            };
            rest = &rest[form.len()..];
            taken.push(form.as_str());
        }
        taken
    }
}

fn forms(letter: char) -> Vec<String> {
    let mut forms = vec![letter.to_ascii_uppercase().to_string()];
    if letter.is_ascii_lowercase() {
        forms.push(letter.to_string());
    }
    // The Kelvin sign, the only letter outside of ASCII that alone folds to one inside.
    if letter == 'k' {
        forms.push('\u{212a}'.to_string());
    }
    forms
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Seeks through `keys`, as the backend does; answers with what it found, and with how many keys lay
    /// in the ranges that it asked for.
    fn seek(name: &str, keys: &BTreeSet<String>) -> (Vec<String>, usize) {
        let spellings = Spellings::new(name).expect("it is in ASCII");
        let (mut found, mut walked) = (Vec::new(), 0);
        for (mut from, until) in spellings.branches() {
            loop {
                let range = keys.range(from..until.clone());
                walked += range.clone().count();
                let Some(key) = range.clone().next() else { break };
                let Some(spelling) = spellings.at_or_after(key) else { break };
                let at = if key.starts_with(&format!("{spelling}/")) {
                    found.push(spelling.clone());
                    format!("{spelling}0")
                } else {
                    key.clone()
                };
                let Some(next) = spellings.at_or_after(&at) else { break };
                from = format!("{next}/");
                if from >= until {
                    break;
                }
            }
        }
        found.sort();
        (found, walked)
    }

    #[test]
    fn every_spelling_is_found_and_few_other_keys_are_walked_over() {
        let mut keys: BTreeSet<String> = (0..1_000).map(|n| format!("go.micro.{n}/1")).collect();
        keys.extend(
            ["ORDERS/1", "Orders/1", "Orders/2", "orders-x/1", "orders/1"].map(str::to_owned),
        );
        let (found, walked) = seek("orders", &keys);
        assert_eq!(found, ["ORDERS", "Orders", "orders"]);
        assert!(walked <= 20, "etcd walks over {walked} keys");
        let (found, walked) = seek("go.micro.500", &keys);
        assert_eq!((found.as_slice(), walked), (&["go.micro.500".to_owned()][..], 1));
        assert_eq!(seek("kelvin", &BTreeSet::from(["\u{212a}elvin/1".to_owned()])).0.len(), 1);
    }

    #[test]
    fn a_name_outside_of_ascii_is_not_sought() {
        assert!(Spellings::new("größe").is_none());
    }

    proptest! {
        #[test]
        fn seeking_finds_what_looking_at_every_key_finds(
            name in "[ak./-]{0,4}",
            services in prop::collection::btree_set("[aAkK\u{212a}./0-]{1,5}", 0..30),
        ) {
            let name = name.replace('/', "-");
            let keys: BTreeSet<String> = services.into_iter().map(|s| s.replace('/', "-") + "/1").collect();
            let folded = |key: &str| key.split('/').next().unwrap_or_default().to_lowercase();
            let naive: Vec<String> = keys
                .iter()
                .filter(|key| folded(key) == name)
                .map(|key| key.trim_end_matches("/1").to_owned())
                .collect();
            prop_assert_eq!(seek(&name, &keys).0, naive);
        }
    }
}
