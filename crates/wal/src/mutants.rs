//! Deliberate bugs of the store (`slimcluster_core::mutants`): absent from the code without the feature `mutants`.

/// The bug that a store was told to have. It has no size without the feature.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "mutants")]
    pub mutant: Option<slimcluster_core::mutants::Mutant>,
}

/// Whether this mutant is planted; the constant `false` without the feature.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($planted:expr, $mutant:ident) => {
        $planted.mutant == Some(slimcluster_core::mutants::Mutant::$mutant)
    };
}

/// Whether this mutant is planted; the constant `false` without the feature.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($planted:expr, $mutant:ident) => {{
        let _ = $planted;
        false
    }};
}

pub(crate) use mutant;
