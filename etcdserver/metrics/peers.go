package metrics

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Peers are the metrics of the connections to other members. They are made for members of the cluster only, so that
// strangers make no series.
type Peers struct {
	local string // this member's ID

	sent, received   *prometheus.CounterVec
	failures, drops  *prometheus.CounterVec
	active           *prometheus.GaugeVec
	roundTrip        *prometheus.HistogramVec
	snapshots        *prometheus.HistogramVec
	snapshotFailures *prometheus.CounterVec
	refused          *prometheus.CounterVec

	known  sync.Map // uint64 to *Peer
	unseen *Peer    // of all that are not known
}

// Peer are those of one other member.
type Peer struct {
	Sent, Received   prometheus.Counter  // bytes on streams
	Failures         prometheus.Counter  // of connecting, and broken connections
	Drops            prometheus.Counter  // messages for which there was no room or no stream
	RoundTrip        prometheus.Observer // seconds, of pings
	Snapshots        prometheus.Observer // seconds, of those that were sent
	SnapshotFailures prometheus.Counter

	active prometheus.Gauge
}

// NewPeers makes the metrics of a member's connections, registered with reg.
// The series of the refusals are there from the beginning.
func NewPeers(reg prometheus.Registerer, local uint64, refusals ...string) *Peers {
	f := factory{reg}
	p := &Peers{
		local:            strconv.FormatUint(local, 16),
		sent:             f.counters("etcd_network_peer_sent_bytes_total", "Bytes sent to another member on streams.", "To"),
		received:         f.counters("etcd_network_peer_received_bytes_total", "Bytes received from another member on streams.", "From"),
		failures:         f.counters("etcd_network_peer_sent_failures_total", "Failed and broken connections to another member.", "To"),
		drops:            f.counters("canopy_network_peer_dropped_total", "Messages to another member for which there was no room or no stream.", "To"),
		snapshotFailures: f.counters("etcd_network_snapshot_send_failures", "Snapshots that did not reach another member.", "To"),
		refused:          f.counters("canopy_network_peer_refused_total", "Connections of other members that were refused.", "reason"),
		active:           prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "etcd_network_active_peers", Help: "1 if another member is connected."}, []string{"Local", "Remote"}),
	}
	histogram := func(name, help string, first float64, buckets int) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2, buckets)}, []string{"To"})
		reg.MustRegister(h)
		return h
	}
	p.roundTrip = histogram("etcd_network_peer_round_trip_time_seconds", "Round trips to another member.", 0.0001, 16)
	p.snapshots = histogram("etcd_network_snapshot_send_total_duration_seconds", "Seconds to send a snapshot to another member.", 0.1, 12)
	reg.MustRegister(p.active)
	p.unseen = newUnseen()
	for _, reason := range refusals {
		p.refused.WithLabelValues(reason)
	}
	return p
}

func newUnseen() *Peer {
	counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: "unseen"}) }
	histogram := func() prometheus.Observer { return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "unseen"}) }
	return &Peer{
		Sent: counter(), Received: counter(), Failures: counter(), Drops: counter(), SnapshotFailures: counter(),
		RoundTrip: histogram(), Snapshots: histogram(), active: prometheus.NewGauge(prometheus.GaugeOpts{Name: "unseen"}),
	}
}

// Add makes the series of another member, before anything happens that they count.
func (p *Peers) Add(id uint64) {
	name := strconv.FormatUint(id, 16)
	p.known.Store(id, &Peer{
		Sent: p.sent.WithLabelValues(name), Received: p.received.WithLabelValues(name),
		Failures: p.failures.WithLabelValues(name), Drops: p.drops.WithLabelValues(name),
		RoundTrip: p.roundTrip.WithLabelValues(name), Snapshots: p.snapshots.WithLabelValues(name),
		SnapshotFailures: p.snapshotFailures.WithLabelValues(name), active: p.active.WithLabelValues(p.local, name),
	})
}

// Remove deletes the series of a member that is none any more: they would raise alarms without end.
func (p *Peers) Remove(id uint64) {
	p.known.Delete(id)
	name := strconv.FormatUint(id, 16)
	for _, vec := range []interface{ DeleteLabelValues(...string) bool }{
		p.sent, p.received, p.failures, p.drops, p.roundTrip, p.snapshots, p.snapshotFailures,
	} {
		vec.DeleteLabelValues(name)
	}
	p.active.DeleteLabelValues(p.local, name)
}

// Of gives the metrics of another member. Without Add, or after Remove, nobody sees what they count: what a connection
// still does while it is closed makes no series.
func (p *Peers) Of(id uint64) *Peer {
	if known, ok := p.known.Load(id); ok {
		return known.(*Peer)
	}
	return p.unseen
}

// SetActive tells whether a member is connected.
func (p *Peer) SetActive(active bool) {
	if active {
		p.active.Set(1)
		return
	}
	p.active.Set(0)
}

// SnapshotSent tells what became of a snapshot for a member.
func (p *Peer) SnapshotSent(d time.Duration, err error) {
	if err != nil {
		p.SnapshotFailures.Inc()
		return
	}
	p.Snapshots.Observe(d.Seconds())
}

// Refused counts a connection that this member refused. There are few reasons.
func (p *Peers) Refused(reason string) { p.refused.WithLabelValues(reason).Inc() }
