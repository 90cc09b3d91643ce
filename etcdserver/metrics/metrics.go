// Package metrics holds what a member and its client API count and measure while they run.
//
// Whoever does the work calls the fields of a Set; /metrics shows them. A collector asks the member at each scrape for what
// it knows itself: indexes, watchers, the counts of the store.
//
// The names are those of etcd 2.3 (S27) and, where the same thing is meant, also those of 3.4 (S30, S31), because
// dashboards for either exist. What neither knew begins with canopy_.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Set is all of them. It is used by any number of goroutines.
type Set struct {
	*HTTP
	Logins *Logins

	// Of the client API.

	WatchRequests   prometheus.Counter
	AuditDropped    prometheus.Counter // entries of the audit log
	HealthSuccesses prometheus.Counter
	HealthFailures  prometheus.Counter

	// Of the member.

	LastIndexSaved  prometheus.Gauge   // last log index written
	FileDescriptors prometheus.Gauge   // open now
	LeaderChanges   prometheus.Counter // seen by this member
	Installed       prometheus.Counter // snapshots of a leader that replaced the state here
	Unusable        prometheus.Counter // snapshots that could not be loaded
	MessagesRefused prometheus.Counter // of other members, by raft
	DiskFull        prometheus.Gauge   // 1: writes are refused for want of room

	keys   map[string]*Keys // by method; read only
	quorum *Keys
	reads  pair // by recursive
	missed pair

	proposals       prometheus.Observer
	proposalsFailed [2]prometheus.Counter
	pending         [2]prometheus.Gauge
	slowApplies     prometheus.Counter
	fsync           [2]prometheus.Observer
	apply           prometheus.Observer
	snapshot        prometheus.Observer
	marshalling     prometheus.Observer
}

// pair is a counter for plain and one for recursive reads.
type pair struct{ plain, recursive prometheus.Counter }

func (p *pair) of(recursive bool) prometheus.Counter {
	if recursive {
		return p.recursive
	}
	return p.plain
}

// Buckets of S27, in seconds: 0.0005 to 2.048 for requests, 0.001 to 8.192 for the rest.
const (
	shortestRequest = 0.0005
	requestBuckets  = 13
	shortestWrite   = 0.001
	writeBuckets    = 14
)

// New makes a set whose metrics are registered with reg. It panics if reg has one of that name already.
func New(reg prometheus.Registerer) *Set {
	f := factory{reg}
	s := &Set{
		HTTP:   newHTTP(reg, refusals()),
		Logins: newLogins(f),

		WatchRequests:   f.counter("etcd_store_watch_requests_total", "Watches asked for."),
		AuditDropped:    f.counter("canopy_audit_dropped_total", "Entries that the audit log lost; alert on any."),
		HealthSuccesses: f.counter("etcd_server_health_success", "Answers of /health that were true."),
		HealthFailures:  f.counter("etcd_server_health_failures", "Answers of /health that were false."),

		LastIndexSaved:  f.gauge("etcd_wal_last_index_saved", "Last log index written."),
		FileDescriptors: f.gauge("etcd_server_file_descriptors_used_total", "File descriptors that are open."),
		LeaderChanges:   f.counter("etcd_server_leader_changes_seen_total", "Changes of the leader that this member saw."),
		Installed:       f.counter("canopy_snapshots_installed_total", "Snapshots of a leader that replaced the state of this member."),
		Unusable:        f.counter("canopy_snapshots_unusable_total", "Snapshots that could not be loaded and were put aside; alert on any."),
		MessagesRefused: f.counter("canopy_raft_refused_total", "Invalid messages from other members."),

		DiskFull: f.gauge("canopy_disk_full", "1 while writes are refused since the disk is full, else 0."),
	}
	f.addKeys(s)
	f.addMember(s)
	return s
}

// Reads counts reads of the store asked here, those that failed included.
func (s *Set) Reads(recursive bool) prometheus.Counter { return s.reads.of(recursive) }

// ReadsFailed counts those that found nothing.
func (s *Set) ReadsFailed(recursive bool) prometheus.Counter { return s.missed.of(recursive) }

// Keys are the metrics of one kind of request to /v2/keys, watches left out.
type Keys struct {
	Received prometheus.Counter  // parsed and authorised
	Duration prometheus.Observer // of those that succeeded, seconds

	failed *prometheus.CounterVec
	method string
}

// Keys gives the metrics of a method that /v2/keys knows. A quorum GET is a kind of its own.
func (s *Set) Keys(method string, quorum bool) *Keys {
	if quorum && method == http.MethodGet {
		return s.quorum
	}
	return s.keys[method]
}

// Failed counts one request that was answered with an error of this HTTP status.
func (k *Keys) Failed(status int) {
	k.failed.WithLabelValues(k.method, strconv.Itoa(status)).Inc()
}

// SetPending tells how many proposals wait to be applied.
func (s *Set) SetPending(n int) {
	for _, g := range s.pending {
		g.Set(float64(n))
	}
}

// Proposed tells how long a proposal took until it was applied.
func (s *Set) Proposed(d time.Duration) { s.proposals.Observe(d.Seconds()) }

// ProposalFailed tells that a client was told of a time-out; the proposal may still be committed.
func (s *Set) ProposalFailed() {
	for _, c := range s.proposalsFailed {
		c.Inc()
	}
}

// Synced tells how long one sync of the log took.
func (s *Set) Synced(d time.Duration) {
	for _, h := range s.fsync {
		h.Observe(d.Seconds())
	}
}

// slowApply is what 3.4 calls slow.
const slowApply = 100 * time.Millisecond

// Applied tells how long one batch took to apply.
func (s *Set) Applied(d time.Duration) {
	s.apply.Observe(d.Seconds())
	if d > slowApply {
		s.slowApplies.Inc()
	}
}

// Snapshotted tells how long a snapshot took to be saved, and how much of that to be encoded.
func (s *Set) Snapshotted(total, marshalling time.Duration) {
	s.snapshot.Observe(total.Seconds())
	s.marshalling.Observe(marshalling.Seconds())
}
