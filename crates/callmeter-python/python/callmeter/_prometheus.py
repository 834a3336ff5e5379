"""The figures of this process as Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from callmeter import _native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

__all__ = ["Collector"]


class Collector:
    """What ``REGISTRY.register(callmeter.prometheus_collector())`` takes."""

    def describe(self) -> list[Metric]:
        """Nothing: the registry then need not collect when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics, as they are now; none before the first call."""
        stats = _native.stats()
        if not stats:
            return
        yield CounterMetricFamily("callmeter_calls_finished", "Calls that ended.", value=stats["finished"])
        yield CounterMetricFamily(
            "callmeter_calls_acknowledged", "Calls that the store has.", value=stats["acknowledged"]
        )
        yield CounterMetricFamily("callmeter_calls_rejected", "Calls that no store took.", value=stats["rejected"])
        dropped = CounterMetricFamily("callmeter_calls_dropped", "Calls that were lost.", labels=["reason"])
        for reason, count in stats["dropped"].items():
            dropped.add_metric([reason], count)
        yield dropped
        waiting = stats["buffered"] + stats["spooled"] + stats["moving"]
        yield GaugeMetricFamily("callmeter_calls_waiting", "Calls on their way to the store.", value=waiting)
        yield GaugeMetricFamily(
            "callmeter_store_degraded", "Whether the store failed ten times in a row.", value=stats["is_degraded"]
        )
