//! TfIdfVectorizer: counts of n-grams, weighted.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::{
    call::{Call, integers},
    value::{Value, checked_count},
};
use crate::{
    error::{Result, bail, ensure},
    tensor::{DType, Tensor},
};

pub(super) fn vectorize(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let node = call.node;
    let count = |name: &str| usize::try_from(node.int(name).unwrap_or(0)).unwrap_or(0);
    let (least, most, skips) = (count("min_gram_length"), count("max_gram_length"), count("max_skip_count"));
    ensure!(least >= 1 && most >= least, InvalidModel, "min_gram_length {least} and max_gram_length {most} do not fit");
    let Some(starts) = node.ints("ngram_counts") else { bail!(InvalidModel, "the attribute 'ngram_counts' is missing") };
    let columns = node.ints("ngram_indexes").unwrap_or(&[]);
    // Items as numbers: integers are their own, strings the position in the pool.
    let words = node.strings("pool_strings");
    let ids: BTreeMap<&str, i64> = words.iter().rev().enumerate().map(|(i, w)| (*w, i as i64)).collect();
    let pool: Vec<i64> = match node.ints("pool_int64s") {
        Some(ints) if !ints.is_empty() => ints.to_vec(),
        _ => words.iter().map(|w| ids[w]).collect(),
    };
    let input = call.arg(0)?;
    let items: Vec<Option<i64>> = match input {
        Value::Strings(s) => s.data().iter().map(|w| ids.get(w.as_str()).copied()).collect(),
        other => integers(other.tensor()?)?.into_iter().map(Some).collect(),
    };
    // n-grams by their items: the number of each is its place among all in the pool.
    let mut grams: BTreeMap<&[i64], usize> = BTreeMap::new();
    let mut number = 0;
    for (i, &start) in starts.iter().enumerate() {
        let length = i + 1;
        let bound = |v: i64| usize::try_from(v).unwrap_or(usize::MAX);
        let end = starts.get(i + 1).map_or(pool.len(), |e| bound(*e));
        let Some(part) = pool.get(bound(start)..end) else {
            bail!(InvalidModel, "ngram_counts {starts:?} do not fit a pool of {}", pool.len())
        };
        for gram in part.chunks_exact(length) {
            grams.insert(gram, number);
            number += 1;
        }
    }
    let width = columns.iter().max().map_or(0, |m| usize::try_from(m.saturating_add(1)).unwrap_or(0));
    ensure!(
        columns.len() >= number && columns.iter().all(|c| *c >= 0),
        InvalidModel,
        "ngram_indexes has {} entries for {number} n-grams",
        columns.len()
    );
    let (rows, length) = match input.shape()? {
        [] => (1, 1),
        [n] => (1, *n),
        [rows, n] => (*rows, *n),
        other => bail!(InvalidInput, "the input has shape {other:?}, it must have one axis or two"),
    };
    let shape = if input.shape()?.len() == 2 { vec![rows, width] } else { vec![width] };
    // Counts and weights of four bytes each.
    checked_count(&[&shape[..], &[8]].concat())?;
    let weights = node.floats("weights").unwrap_or(&[]);
    let mode = call.text("mode")?;
    let mut out = Tensor::zeros(DType::F32, &shape)?;
    for (row, items) in out.as_mut_slice::<f32>()?.chunks_exact_mut(width.max(1)).zip(items.chunks_exact(length.max(1))) {
        let mut weight = vec![0f32; width];
        count_grams(items, (least, most), skips, &grams, |n| {
            let column = columns[n] as usize;
            row[column] += 1.0;
            weight[column] = weights.get(n).copied().unwrap_or(1.0);
        });
        for (v, w) in row.iter_mut().zip(weight) {
            *v = match mode.as_str() {
                "TF" => *v,
                "IDF" => v.min(1.0) * w,
                "TFIDF" => *v * w,
                other => bail!(InvalidModel, "mode is '{other}', it must be TF, IDF or TFIDF"),
            };
        }
    }
    Ok(vec![out.into()])
}

/// Calls `found` for each n-gram of the pool, whose items lie `1` to `skips + 1` apart; single items have no distance.
fn count_grams(
    items: &[Option<i64>],
    (least, most): (usize, usize),
    skips: usize,
    grams: &BTreeMap<&[i64], usize>,
    mut found: impl FnMut(usize),
) {
    let longest = grams.keys().map(|g| g.len()).max().unwrap_or(0);
    for length in least..=most.min(longest) {
        let distances = if length == 1 { 1..=1 } else { 1..=skips.saturating_add(1).min(items.len()) };
        for distance in distances {
            for start in 0..items.len() {
                let gram: Option<Vec<i64>> = (0..length).map(|i| *items.get(start + i * distance)?).collect();
                if let Some(n) = gram.and_then(|g| grams.get(g.as_slice())) {
                    found(*n);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_may_lie_apart() {
        let (a, b) = ([5i64, 6], [5i64]);
        let grams: BTreeMap<&[i64], usize> = [(&a[..], 0), (&b[..], 1)].into();
        let items = [5, 7, 6, 5, 6].map(Some);
        let count = |range, skips| {
            let mut counts = [0, 0];
            count_grams(&items, range, skips, &grams, |n| counts[n] += 1);
            counts
        };
        assert_eq!(count((1, 2), 0), [1, 2]);
        assert_eq!(count((2, 2), 1), [2, 0]);
    }
}
