//! How requests fared.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::LayerMetrics;
use crate::rejection::{RejectionKind, RejectionReason};
use crate::striped::Striped;

/// How requests fared at one layer.
pub(crate) struct Outcomes {
    accepted: Striped<AtomicU64>,
    anonymous: AtomicU64,
    rejected: [AtomicU64; RejectionReason::ALL.len()],
    metrics: LayerMetrics,
}

impl Default for Outcomes {
    fn default() -> Self {
        Self {
            accepted: Striped::default(),
            anonymous: AtomicU64::default(),
            rejected: [const { AtomicU64::new(0) }; RejectionReason::ALL.len()],
            metrics: Default::default(), // without the feature `metrics` it is a unit
        }
    }
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
            rejected_by_kind: self.rejections(),
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

/// Whatever has outcomes. A handle knows no more of a layer, so that it has none of its types.
pub(crate) trait HasOutcomes: Send + Sync {
    fn outcomes(&self) -> &Outcomes;
}

/// Observes an [`IntrospectionLayer`](crate::IntrospectionLayer) from elsewhere in the application, whatever its types.
/// Made by [`IntrospectionLayer::handle`](crate::IntrospectionLayer::handle); clones look at the same layer.
///
/// ```
/// use tower_introspection::{Cached, IntrospectionLayer};
/// # let introspector = tower_introspection::introspect_fn(|_| async {
/// #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
///
/// let layer = IntrospectionLayer::new(Cached::new(introspector));
/// let handle = layer.handle();
/// assert_eq!(handle.stats().accepted, 0);
/// ```
#[derive(Clone)]
pub struct LayerHandle(Arc<dyn HasOutcomes>);

impl LayerHandle {
    pub(crate) fn new(layer: Arc<dyn HasOutcomes>) -> Self {
        Self(layer)
    }

    /// How requests fared at the layer, its clones, and all services it wraps.
    #[must_use]
    pub fn stats(&self) -> LayerStats {
        self.0.outcomes().stats()
    }
}

impl fmt::Debug for LayerHandle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("LayerHandle").field(&self.stats()).finish()
    }
}

/// How requests fared at a layer, since it was made. Given by
/// [`IntrospectionLayer::stats`](crate::IntrospectionLayer::stats) and [`LayerHandle::stats`].
///
/// A request that the layer let through and a [`RequireLayer`](crate::layer::RequireLayer) of it, or an extractor, then
/// refused is in both: in [`accepted`](Self::accepted) or [`anonymous`](Self::anonymous), and in
/// [`rejected_by_kind`](Self::rejected_by_kind).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerStats {
    /// Requests let through with a token.
    pub accepted: u64,
    /// Requests let through without one, as [`optional`](crate::layer::IntrospectionLayerBuilder::optional) has it.
    pub anonymous: u64,
    /// Requests rejected, by kind; kinds that did not occur are left out.
    pub rejected_by_kind: Vec<(RejectionKind, u64)>,
    /// The same requests by reason; reasons that did not occur are left out.
    pub rejected_by_reason: Vec<(RejectionReason, u64)>,
}
