package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"canopy/etcdserver"
	"canopy/store"
)

// A Member is what a scrape asks for its present state.
type Member interface {
	ID() etcdserver.ID
	Leader() etcdserver.ID // 0 = unknown
	Consensus() etcdserver.Consensus
	Differences() []etcdserver.Difference
	StoreStats() store.Stats
	HistoryRange() (oldest, newest store.Index)
}

// A collector answers a scrape with the present state of the member.
type collector struct {
	member  Member
	version string
}

// NewCollector makes the metrics that are read at each scrape and not counted: those of store, raft and leadership. version
// is the version of this program.
func NewCollector(member Member, version string) prometheus.Collector {
	return collector{member, version}
}

// Describe sends nothing: the metrics are known only at a scrape.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends one sample of each.
func (c collector) Collect(out chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		names, values := labels[:len(labels)/2], labels[len(labels)/2:]
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
	}
	s := c.member.StoreStats()
	c.collectWrites(&s, send)
	send(prometheus.CounterValue, "etcd_store_expires_total", "Keys that expired.", float64(s.ExpireCount))
	send(prometheus.GaugeValue, "etcd_store_watchers", "Watchers that are open.", float64(s.Watchers))
	oldest, newest := c.member.HistoryRange()
	send(prometheus.GaugeValue, "canopy_store_history_oldest_index", "Lowest waitIndex that history still answers.", float64(oldest))
	send(prometheus.GaugeValue, "canopy_store_index", "Index of the store.", float64(newest))

	leader := c.member.Leader()
	send(prometheus.GaugeValue, "etcd_server_has_leader", "1 if a leader is known.", one(leader != 0))
	send(prometheus.GaugeValue, "etcd_server_is_leader", "1 if this member leads.", one(leader == c.member.ID()))
	consensus := c.member.Consensus()
	send(prometheus.GaugeValue, "etcd_server_proposals_committed_total", "Last committed log index.", float64(consensus.Committed))
	send(prometheus.GaugeValue, "etcd_server_proposals_applied_total", "Last applied log index.", float64(consensus.Applied))
	send(prometheus.GaugeValue, "canopy_apply_lag_entries", "Committed entries that are not applied here yet.", float64(consensus.Committed-consensus.Applied))
	send(prometheus.GaugeValue, "etcd_server_is_learner", "1 if this member follows without a vote.", one(consensus.Learner))
	send(prometheus.GaugeValue, "canopy_members_inconsistent", "Members whose state was another one when it was compared last.", float64(len(c.member.Differences())))
	send(prometheus.GaugeValue, "canopy_raft_term", "Term of this member.", float64(consensus.Term))
	send(prometheus.GaugeValue, "canopy_raft_log_bytes", "Memory that the raft log takes.", float64(consensus.LogBytes))
	send(prometheus.GaugeValue, "etcd_server_version", "1, labelled with the version.", 1, "server_version", c.version)
	send(prometheus.GaugeValue, "etcd_server_id", "1, labelled with the member ID.", 1, "server_id", c.member.ID().String())
}

// collectWrites sends the counts of changes applied here, failures included (S27) and failures alone (S28).
func (c collector) collectWrites(s *store.Stats, send func(prometheus.ValueType, string, string, float64, ...string)) {
	for _, w := range [...]struct {
		action     string
		ok, failed uint64
	}{
		{"set", s.SetsSuccess, s.SetsFail},
		{"create", s.CreateSuccess, s.CreateFail},
		{"update", s.UpdateSuccess, s.UpdateFail},
		{"delete", s.DeleteSuccess, s.DeleteFail},
		{"compareAndSwap", s.CompareAndSwapSuccess, s.CompareAndSwapFail},
		{"compareAndDelete", s.CompareAndDeleteSuccess, s.CompareAndDeleteFail},
	} {
		send(prometheus.CounterValue, "etcd_store_writes_total", "Writes applied here, failures included.", float64(w.ok+w.failed), "action", w.action)
		send(prometheus.CounterValue, "etcd_store_writes_failed_total", "Writes applied here that failed.", float64(w.failed), "action", w.action)
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
