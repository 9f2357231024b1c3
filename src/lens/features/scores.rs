//! Arithmetic of the methods that needs no model.

/// λ.
const RIDGE: f64 = 1.0;

/// Coefficients of a weighted ridge regression with a free intercept.
pub fn ridge(rows: &[(Vec<f64>, f64)], weights: &[f64]) -> Vec<f64> {
    let count = rows.first().map_or(0, |(row, _)| row.len());
    let total: f64 = weights.iter().sum();
    let centre = |read: &dyn Fn(usize) -> f64| {
        weights.iter().enumerate().map(|(row, weight)| weight * read(row)).sum::<f64>() / total
    };
    let means: Vec<f64> = (0..count).map(|column| centre(&|row| rows[row].0[column])).collect();
    let middle = centre(&|row| rows[row].1);
    let mut system = vec![vec![0.0; count + 1]; count];
    for ((row, value), weight) in rows.iter().zip(weights) {
        for (a, line) in system.iter_mut().enumerate() {
            let left = weight * (row[a] - means[a]);
            for (b, cell) in line[..count].iter_mut().enumerate() {
                *cell += left * (row[b] - means[b]);
            }
            line[count] += left * (value - middle);
        }
    }
    system.iter_mut().enumerate().for_each(|(at, line)| line[at] += RIDGE);
    // The ridge keeps every pivot positive.
    for pivot in 0..count {
        let line = system[pivot].clone();
        for (_, other) in system.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = other[pivot] / line[pivot];
            other.iter_mut().zip(&line).for_each(|(cell, above)| *cell -= factor * above);
        }
    }
    system.iter().enumerate().map(|(at, line)| line[count] / line[at]).collect()
}

/// Last row of Π rownorm(A_l + I) of patterns `[Q,K]`, the first layer first.
///
/// ```
/// use attnscope::lens::features::rollout;
/// let same = [1.0, 0.0, 0.0, 1.0];
/// assert_eq!(rollout(&[same.to_vec(), same.to_vec()], 2), [0.0, 1.0]);
/// ```
pub fn rollout(layers: &[Vec<f32>], count: usize) -> Vec<f32> {
    let mut row = vec![0.0; count];
    row[count - 1] = 1.0;
    for layer in layers.iter().rev() {
        let mut next = vec![0.0; count];
        for (query, weight) in row.iter().enumerate() {
            let own = &layer[query * count..(query + 1) * count];
            let total: f32 = own.iter().sum::<f32>() + 1.0;
            for (key, cell) in own.iter().enumerate() {
                next[key] += weight * (cell + f32::from(u8::from(key == query))) / total;
            }
        }
        row = next;
    }
    row
}

/// How much can flow from the last position of the last layer to each token, in shares of all: the edge from a query to a key
/// carries at most rownorm(A_l + I), and a layer's patterns `[Q,K]` come first layer first.
///
/// ```
/// use attnscope::lens::features::flow;
/// // One layer: the row itself, (0.25, 0.75) with the residual stream beside it.
/// let one = flow(&[vec![1.0, 0.0, 0.5, 0.5]], 2);
/// assert!((one[0] - 0.25).abs() < 1e-6 && (one[1] - 0.75).abs() < 1e-6);
/// ```
pub fn flow(layers: &[Vec<f32>], count: usize) -> Vec<f32> {
    let capacity = |layer: &Vec<f32>| -> Vec<f64> {
        let cell = |at: usize| f64::from(layer[at]) + f64::from(u8::from(at / count == at % count));
        let total = |query: usize| (0..count).map(|key| cell(query * count + key)).sum::<f64>();
        (0..count * count).map(|at| cell(at) / total(at / count)).collect()
    };
    let whole: Vec<Vec<f64>> = layers.iter().map(capacity).collect();
    let most: Vec<f64> = (0..count).map(|token| most_flow(whole.clone(), count, token)).collect();
    let all: f64 = most.iter().sum();
    most.into_iter().map(|flow| (flow / all) as f32).collect()
}

/// Less is rounding.
const NOTHING: f64 = 1e-9;

/// The largest flow into one token: along the shortest path that is left, again and again (Edmonds and Karp).
fn most_flow(mut left: Vec<Vec<f64>>, count: usize, token: usize) -> f64 {
    let top = left.len();
    // What has flowed may flow back.
    let mut back: Vec<Vec<f64>> = left.iter().map(|layer| vec![0.0; layer.len()]).collect();
    let mut flow = 0.0;
    loop {
        // Node (depth, position): depth 0 are the tokens, `top` is above the last layer.
        let mut from: Vec<Option<(usize, usize)>> = vec![None; (top + 1) * count];
        let start = (top, count - 1);
        from[top * count + count - 1] = Some(start);
        let mut open = std::collections::VecDeque::from([start]);
        while let Some((depth, at)) = open.pop_front() {
            let below = (0..count).filter(|key| depth > 0 && left[depth - 1][at * count + key] > NOTHING);
            let above = (0..count).filter(|query| depth < top && back[depth][query * count + at] > NOTHING);
            let next = below.map(|key| (depth.wrapping_sub(1), key)).chain(above.map(|query| (depth + 1, query)));
            for (depth_there, there) in next {
                let seen = &mut from[depth_there * count + there];
                if seen.is_none() {
                    *seen = Some((depth, at));
                    open.push_back((depth_there, there));
                }
            }
        }
        // The way back from the token, and what fits through all of it.
        let mut path = vec![(0, token)];
        while let Some((depth, at)) = path.last().copied().filter(|node| *node != start) {
            match from[depth * count + at] {
                Some(before) => path.push(before),
                None => return flow,
            }
        }
        let room = |pair: &[(usize, usize)]| match (pair[1], pair[0]) {
            ((high, query), (low, key)) if high > low => left[low][query * count + key],
            ((low, key), (_, query)) => back[low][query * count + key],
        };
        let fits = path.windows(2).map(room).fold(f64::INFINITY, f64::min);
        for pair in path.windows(2) {
            match (pair[1], pair[0]) {
                ((high, query), (low, key)) if high > low => {
                    left[low][query * count + key] -= fits;
                    back[low][query * count + key] += fits;
                }
                ((low, key), (_, query)) => {
                    left[low][query * count + key] += fits;
                    back[low][query * count + key] -= fits;
                }
            }
        }
        flow += fits;
    }
}
