package metrics

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

func TestPeersAreMeasuredApart(t *testing.T) {
	registry := prometheus.NewRegistry()
	p := NewPeers(registry, 0xa)
	p.Add(0xb)
	p.Add(0xc)
	p.Of(0xb).Sent.Add(3)
	p.Of(0xb).Sent.Add(4)
	p.Of(0xc).Sent.Add(5)
	p.Of(0xb).SetActive(true)
	p.Of(0xc).SetActive(true)
	p.Of(0xc).SetActive(false)
	p.Of(0xb).RoundTrip.Observe(0.001)
	p.Of(0xb).SnapshotSent(time.Second, nil)
	p.Of(0xb).SnapshotSent(time.Second, errors.New("cut"))
	p.Refused("unknown member")
	got := values(t, registry)
	for name, want := range map[string]float64{
		"etcd_network_peer_sent_bytes_total To=b":                 7,
		"etcd_network_peer_sent_bytes_total To=c":                 5,
		"etcd_network_active_peers Local=a Remote=b":              1,
		"etcd_network_active_peers Local=a Remote=c":              0,
		"etcd_network_peer_round_trip_time_seconds To=b":          1,
		"etcd_network_snapshot_send_total_duration_seconds To=b":  1,
		"etcd_network_snapshot_send_failures To=b":                1,
		"canopy_network_peer_refused_total reason=unknown member": 1,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// A member that is removed leaves no series behind, nor does what its connections do afterwards make new ones.
func TestARemovedMemberHasNoSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	p := NewPeers(registry, 0xa)
	use := func(peer *Peer) {
		peer.Sent.Inc()
		peer.Received.Inc()
		peer.Failures.Inc()
		peer.Drops.Inc()
		peer.RoundTrip.Observe(1)
		peer.SetActive(true)
		peer.SnapshotSent(time.Second, nil)
		peer.SnapshotSent(time.Second, errors.New("cut"))
	}
	p.Add(0xb)
	p.Add(0xc)
	before := p.Of(0xb)
	use(before)
	with := len(values(t, registry))
	p.Remove(0xb)
	use(before)
	use(p.Of(0xb))
	got := values(t, registry)
	for name := range got {
		if strings.Contains(name, "=b") {
			t.Errorf("the removed member has %s", name)
		}
	}
	if 2*len(got) != with {
		t.Errorf("%d series of two members, and %d without one of them", with, len(got))
	}
	p.Add(0xb)
	if got := values(t, registry)["etcd_network_peer_sent_bytes_total To=b"]; got != 0 {
		t.Errorf("a member that is known again begins with %v bytes", got)
	}
}

// A counter that appears with its first count hides that count from whoever looks for increases: the series of each refusal that
// the program knows are there from the beginning, and so are those of another member that was never reached.
func TestCountersAreThereBeforeTheyCount(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(registry)
	NewPeers(registry, 0xa, "too old").Add(0xb)
	got := values(t, registry)
	for _, name := range append(refusedInTheProgram(t),
		"etcd_http_failed_total code=412 method=PUT", "etcd_http_failed_total code=503 method=QGET",
		"canopy_network_peer_refused_total reason=too old", "etcd_network_peer_sent_failures_total To=b", "etcd_network_active_peers Local=a Remote=b") {
		if v, there := got[name]; !there || v != 0 {
			t.Errorf("%s = %v (there: %v), want 0", name, v, there)
		}
	}
}

// refusedInTheProgram finds the series of all calls of Set.Refused.
func refusedInTheProgram(t *testing.T) []string {
	t.Helper()
	call := regexp.MustCompile(`[sS]et\.Refused\("([^"]+)"\)|Metrics\.Refused\("([^"]+)"\)`)
	var names []string
	for _, pattern := range []string{"../../*.go", "../../*/*.go", "../../*/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range call.FindAllStringSubmatch(string(source), -1) {
				names = append(names, "canopy_http_refused_total reason="+found[1]+found[2])
			}
		}
	}
	if len(names) < 5 {
		t.Fatalf("only %v are found", names)
	}
	return names
}
