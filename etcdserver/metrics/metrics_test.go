package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// values gives the number of observations or the value of each series without labels.
func values(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			switch {
			case m.GetHistogram() != nil:
				all[name] = float64(m.GetHistogram().GetSampleCount())
			case m.GetGauge() != nil:
				all[name] = m.GetGauge().GetValue()
			default:
				all[name] = m.GetCounter().GetValue()
			}
		}
	}
	return all
}

func TestEachEventIsCountedUnderItsNames(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := New(registry)
	s.Synced(time.Millisecond)
	s.Applied(99 * time.Millisecond)
	s.Applied(101 * time.Millisecond)
	s.SetPending(3)
	s.SetPending(2)
	s.Proposed(time.Second)
	s.ProposalFailed()
	s.Snapshotted(2*time.Second, time.Second)
	s.Refused("host")
	s.Reads(true).Inc()
	s.ReadsFailed(false).Inc()
	s.Keys("GET", true).Received.Inc()
	s.Keys("PUT", true).Failed(412)
	got := values(t, registry)
	for name, want := range map[string]float64{
		"etcd_wal_fsync_durations_seconds":                 1,
		"etcd_disk_wal_fsync_duration_seconds":             1,
		"canopy_apply_duration_seconds":                    2,
		"etcd_server_slow_apply_total":                     1,
		"etcd_server_pending_proposal_total":               2,
		"etcd_server_proposals_pending":                    2,
		"etcd_server_proposal_durations_seconds":           1,
		"etcd_server_proposal_failed_total":                1,
		"etcd_server_proposals_failed_total":               1,
		"etcd_snapshot_save_total_durations_seconds":       1,
		"etcd_snapshot_save_marshalling_durations_seconds": 1,
		"canopy_http_refused_total reason=host":            1,
		"etcd_store_reads_total action=getRecursive":       1,
		"etcd_store_reads_failed_total action=get":         1,
		"etcd_http_received_total method=QGET":             1,
		"etcd_http_received_total method=GET":              0,
		"etcd_http_failed_total code=412 method=PUT":       1,
	} {
		if v, there := got[name]; !there || v != want {
			t.Errorf("%s = %v (there: %v), want %v", name, v, there, want)
		}
	}
}

func TestTwoMembersShareNothing(t *testing.T) {
	a, b := prometheus.NewRegistry(), prometheus.NewRegistry()
	New(a).LastIndexSaved.Set(7)
	New(b)
	if got := values(t, b)["etcd_wal_last_index_saved"]; got != 0 {
		t.Errorf("the other member's index is %v, want 0", got)
	}
}
