//! How requests fared.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::LayerMetrics;
use crate::rejection::{RejectionKind, RejectionReason};
use crate::striped::Striped;

/// How requests fared at one layer.
#[derive(Default)]
pub(crate) struct Outcomes {
    accepted: Striped<AtomicU64>,
    anonymous: AtomicU64,
    rejected: [AtomicU64; RejectionReason::ALL.len()],
    metrics: LayerMetrics,
}

impl Outcomes {
    pub(crate) fn accepted(&self) {
        self.accepted.own().fetch_add(1, Ordering::Relaxed);
        self.metrics.accepted();
    }

    pub(crate) fn anonymous(&self) {
        self.anonymous.fetch_add(1, Ordering::Relaxed);
        self.metrics.anonymous();
    }

    pub(crate) fn rejected(&self, reason: RejectionReason) {
        // Each reason has a place of its own in the array.
        if let Some(counter) = self.rejected.get(reason.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.metrics.rejected(reason);
    }

    pub(crate) fn stats(&self) -> LayerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LayerStats {
            accepted: self.accepted.all().map(read).sum(),
            anonymous: read(&self.anonymous),
            rejected: self.rejections(),
            rejected_by_reason: self.rejections_by_reason(),
        }
    }

    /// By kind; kinds that did not occur are left out.
    pub(crate) fn rejections(&self) -> Vec<(RejectionKind, u64)> {
        let by_reason = self.rejections_by_reason();
        let count = |kind| by_reason.iter().filter(|(reason, _)| reason.kind() == kind).map(|(_, count)| count).sum();
        RejectionKind::ALL.map(|kind| (kind, count(kind))).into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn rejections_by_reason(&self) -> Vec<(RejectionReason, u64)> {
        let counts = self.rejected.iter().map(|counter| counter.load(Ordering::Relaxed));
        RejectionReason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// How requests fared at a layer, since it was made. Given by
/// [`IntrospectionLayer::stats`](crate::IntrospectionLayer::stats).
///
/// A request that the layer let through and a [`RequireLayer`](crate::layer::RequireLayer) of it, or an extractor, then
/// refused is in both: in [`accepted`](Self::accepted) or [`anonymous`](Self::anonymous), and in
/// [`rejected`](Self::rejected).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerStats {
    /// Requests let through with a token.
    pub accepted: u64,
    /// Requests let through without one, as [`optional`](crate::layer::IntrospectionLayerBuilder::optional) has it.
    pub anonymous: u64,
    /// Requests rejected, by kind; kinds that did not occur are left out.
    pub rejected: Vec<(RejectionKind, u64)>,
    /// The same requests by reason; reasons that did not occur are left out.
    pub rejected_by_reason: Vec<(RejectionReason, u64)>,
}
