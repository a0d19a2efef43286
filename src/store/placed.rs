//! Rows of several things in one answer, told apart by a column that says of which each is.

use super::StoreError;

/// Rows of one of several things that are read together.
pub struct PlacedRows<R> {
    pub rows: Vec<R>,
    /// There are more than were read.
    pub is_cut: bool,
}

impl<R> PlacedRows<R> {
    /// Returns whether there may be more than these, of which `limit` were asked for.
    #[must_use]
    pub fn is_full(&self, limit: usize) -> bool {
        self.is_cut || self.rows.len() == limit
    }
}

/// Divides the rows of one answer by the place of what they are of, among `count` that were asked
/// for and answered one after the other. Of an answer that is cut, what is not whole is left out,
/// unless it is the first.
///
/// # Errors
/// When a place cannot be read.
pub fn by_place<R>(
    rows: Vec<R>,
    place_of: impl Fn(&R) -> Result<usize, StoreError>,
    count: usize,
    is_cut: bool,
) -> Result<Vec<PlacedRows<R>>, StoreError> {
    let last = rows.last().filter(|_| is_cut).map(&place_of).transpose()?;
    let whole = last.unwrap_or(count);
    let lists = (0..whole.max(1)).map(|_| PlacedRows {
        rows: Vec::new(),
        is_cut: whole == 0,
    });
    let mut lists: Vec<PlacedRows<R>> = lists.collect();
    for row in rows {
        if let Some(list) = lists.get_mut(place_of(&row)?) {
            list.rows.push(row);
        }
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of each that is answered, each row its number with its place, and whether there are
    /// more.
    fn divided(places: &[usize], count: usize, is_cut: bool) -> Vec<(Vec<usize>, bool)> {
        let rows = places.iter().copied().enumerate().collect();
        let lists = by_place(rows, |(_, place)| Ok(*place), count, is_cut).unwrap();
        let numbers = |list: PlacedRows<(usize, usize)>| {
            let rows = list.rows.iter().map(|(number, _)| *number);
            (rows.collect(), list.is_cut)
        };
        lists.into_iter().map(numbers).collect()
    }

    #[test]
    fn of_a_cut_answer_only_what_is_whole_is_taken() {
        let empty = (vec![], false);
        assert_eq!(
            divided(&[1, 1, 3], 4, false),
            [
                empty.clone(),
                (vec![0, 1], false),
                empty.clone(),
                (vec![2], false)
            ]
        );
        assert_eq!(
            divided(&[1, 1, 3], 4, true),
            [empty.clone(), (vec![0, 1], false), empty.clone()]
        );
        assert_eq!(divided(&[0, 0], 2, true), [(vec![0, 1], true)]);
        assert_eq!(divided(&[], 2, false), [empty.clone(), empty]);
    }
}
