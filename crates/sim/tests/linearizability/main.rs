//! The checker of black-box histories, against a search that is too simple to be wrong, and at the sizes that it is meant for.

mod brute_force;
mod long;
mod random_histories;
mod small;
mod subjects;
