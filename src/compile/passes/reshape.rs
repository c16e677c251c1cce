//! What a Reshape does to each axis: which axes it merges, splits or leaves alone.

use alloc::vec::Vec;

use crate::graph::Dim;

/// Axes of the input that become axes of the output, with the same number of elements. Axes of size 1 belong to no group.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub from: Vec<usize>,
    pub to: Vec<usize>,
}

/// Splits a Reshape into the smallest groups; `None` if symbolic sizes cannot be matched.
pub(super) fn groups(from: &[Dim], to: &[Dim]) -> Option<Vec<Group>> {
    let mut left = from.iter().enumerate().filter(|(_, d)| d.as_fixed() != Some(1));
    let mut right = to.iter().enumerate().filter(|(_, d)| d.as_fixed() != Some(1));
    let mut out = Vec::new();
    loop {
        let (l, r) = match (left.next(), right.next()) {
            (None, None) => return Some(out),
            (Some(l), Some(r)) => (l, r),
            _ => return None,
        };
        let mut group = Group { from: alloc::vec![l.0], to: alloc::vec![r.0] };
        let (mut a, mut b) = (Product::of(l.1)?, Product::of(r.1)?);
        while a != b {
            if a.grows_towards(&b) {
                let (i, d) = left.next()?;
                group.from.push(i);
                a.multiply(d)?;
            } else {
                let (i, d) = right.next()?;
                group.to.push(i);
                b.multiply(d)?;
            }
        }
        out.push(group);
    }
}

/// A product of dimensions.
struct Product<'a> {
    number: usize,
    symbolic: Vec<&'a Dim>,
}

impl<'a> Product<'a> {
    fn of(dim: &'a Dim) -> Option<Product<'a>> {
        let mut out = Product { number: 1, symbolic: Vec::new() };
        out.multiply(dim)?;
        Some(out)
    }

    fn multiply(&mut self, dim: &'a Dim) -> Option<()> {
        match dim.as_fixed() {
            Some(n) => self.number = self.number.checked_mul(n).filter(|n| *n > 0)?,
            None => self.symbolic.push(dim),
        }
        Some(())
    }

    fn lacks(&self, other: &Product) -> bool {
        let count = |list: &[&Dim], d: &Dim| list.iter().filter(|e| **e == d).count();
        other.symbolic.iter().any(|d| count(&self.symbolic, d) < count(&other.symbolic, d))
    }

    /// Whether this one needs more factors to reach the other (else the other does).
    fn grows_towards(&self, other: &Product) -> bool {
        self.lacks(other) || (!other.lacks(self) && self.number < other.number)
    }
}

impl PartialEq for Product<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && !self.lacks(other) && !other.lacks(self)
    }
}

/// The output axis that holds exactly what input axis `axis` held, if the Reshape leaves that axis alone.
pub(super) fn kept_axis(from: &[Dim], to: &[Dim], axis: usize) -> Option<usize> {
    groups(from, to)?.into_iter().find_map(|g| match (g.from.as_slice(), g.to.as_slice()) {
        ([f], [t]) if *f == axis => Some(*t),
        _ => None,
    })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn dims(sizes: &[usize]) -> Vec<Dim> {
        sizes.iter().map(|&d| Dim::fixed(d)).collect()
    }

    fn pairs(groups: Option<Vec<Group>>) -> Option<Vec<(Vec<usize>, Vec<usize>)>> {
        Some(groups?.into_iter().map(|g| (g.from, g.to)).collect())
    }

    #[test]
    fn merges_and_splits() {
        let found = pairs(groups(&dims(&[1, 6, 4, 5]), &dims(&[1, 2, 3, 1, 20])));
        assert_eq!(found, Some(alloc::vec![(alloc::vec![1], alloc::vec![1, 2]), (alloc::vec![2, 3], alloc::vec![4])]));
        assert_eq!(pairs(groups(&dims(&[4, 6]), &dims(&[3, 8]))), Some(alloc::vec![(alloc::vec![0, 1], alloc::vec![0, 1])]));
        assert_eq!(pairs(groups(&dims(&[4]), &dims(&[5]))), None);
        assert_eq!(kept_axis(&dims(&[1, 6, 4]), &dims(&[6, 2, 2]), 1), Some(0));
        assert_eq!(kept_axis(&dims(&[1, 6, 4]), &dims(&[6, 2, 2]), 2), None);
    }

    #[test]
    fn symbols_match_symbols() {
        let (n, s) = (Dim::symbol(0), Dim::symbol(1));
        let split = groups(&[n.clone(), s.clone(), Dim::fixed(12)], &[n.clone(), s.clone(), Dim::fixed(3), Dim::fixed(4)]);
        assert_eq!(split.map(|g| g.len()), Some(3));
        assert_eq!(groups(&[n.clone(), Dim::fixed(2)], &[s]), None);
        assert_eq!(groups(&[n.clone() * Dim::fixed(2)], &[n, Dim::fixed(2)]), None);
    }
}
