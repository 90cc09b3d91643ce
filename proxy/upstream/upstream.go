// Package upstream knows the cluster behind a proxy: who its members are, which of their client URLs answer, and which of
// those is nearest. It also makes the connections to them.
//
//	Run → refresh: who the members are, from their peer ports, or else from their client ports; kept in a file
//	    → probe:   which endpoints answer, and how fast
//
//	Choose → an Endpoint, and an idle Conn to it if there is one
//
// An Endpoint is a client URL of a member. All endpoints are in one list, and a request goes to the first one that is
// available. So all clients of a proxy use one member, and read what they wrote (P15). An endpoint that fails has an Outage
// until a probe succeeds (P16, P17).
//
// Each endpoint is in one of these states; a request takes the first row that has an endpoint:
//
//	available       no outage, and not a second choice
//	second choice   it said that it is about to stop, or was restarted or added a moment ago
//	last choice     an outage, but it answers: it has no quorum
//	unavailable     an outage
//
// A Conn writes and reads HTTP/1.1 itself, and uses net/http only to parse the head of an answer. http.Transport does not tell
// whether any byte of a failed request was sent. A proxy must know that, so that it writes nothing twice. http.Transport also
// needs two goroutines and two buffers a connection; a Conn of a watch that waits has neither.
package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/internal/disk"
)

// Options are the settings of a Cluster. A zero field means the default of flags.md 3.3, unless the field is required.
type Options struct {
	FS  disk.FS // required
	Dir string  // directory of the list of peer URLs, proxy/ in the data directory; required

	// Peers gives the first peer URLs, from flags or discovery. It may take long. It is called if there is no list, or if no
	// peer on the list has answered for a minute (P3, P5); required.
	Peers func(context.Context) ([]string, error)

	FailureWait     time.Duration // between probes, about as long as an endpoint stays unavailable; default 5 s
	RefreshInterval time.Duration // between refreshes of the member list; default 30 s
	DialTimeout     time.Duration // default 1 s; less than 0: none
	WriteTimeout    time.Duration // for one write to a member; default 5 s; less than 0: none
	Election        time.Duration // of the members; default 1 s. An answer must begin within 5 s + twice this (P18)

	// TLS begins TLS with a member, on client and peer URLs (P27, T41). The certificate of the member must be valid for the host of
	// the URL. After an error the connection is closed. nil: only http URLs are dialled.
	TLS func(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error)
	// ExplainTLS gives the kind of a failure of TLS, and tells it in words; "": the error is of another kind. nil: none is known.
	ExplainTLS func(error) (kind, text string)

	ID     string         // of the proxy, in the header that detects loops; a proxy sets it
	Probed func()         // called after each round of probes; nil: none
	Log    *logrus.Logger // required

	began   time.Time           // see now
	isHere  func(net.Conn) bool // tells whether a connection ends on this host (P45)
	readers *sync.Pool          // *bufio.Reader, of connections to members
}

const (
	defaultFailureWait     = 5 * time.Second
	defaultRefreshInterval = 30 * time.Second
	defaultDialTimeout     = time.Second
	defaultWriteTimeout    = 5 * time.Second
	defaultElection        = time.Second
)

// OrNone gives a time-out of Options from one of which 0 means that there is none.
func OrNone(t time.Duration) time.Duration {
	if t == 0 {
		return -1
	}
	return t
}

func (o Options) withDefaults() Options {
	or := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	or(&o.FailureWait, defaultFailureWait)
	or(&o.RefreshInterval, defaultRefreshInterval)
	or(&o.DialTimeout, defaultDialTimeout)
	or(&o.WriteTimeout, defaultWriteTimeout)
	or(&o.Election, defaultElection)
	if o.Probed == nil {
		o.Probed = func() {}
	}
	if o.ExplainTLS == nil {
		o.ExplainTLS = func(error) (kind, text string) { return "", "" }
	}
	if o.isHere == nil {
		o.isHere = isHere
	}
	o.began = time.Now()
	o.readers = &sync.Pool{New: func() any { return bufio.NewReaderSize(nil, ReaderBytes) }}
	return o
}

// now is the time since the cluster was made, in ns. A step of the wall clock does not move it.
func (o *Options) now() int64 { return int64(time.Since(o.began)) }

// answerTime is how long a member may take to begin or continue an answer. It is longer than a member waits for its quorum
// (P18, K121).
func (o *Options) answerTime() time.Duration { return 5*time.Second + 2*o.Election }

// A Cluster is the members behind a proxy. Any goroutine may call its methods.
type Cluster struct {
	o     Options
	file  clusterFile
	known *record // as read from the file at the start; nil: none
	list  endpointList

	refreshNow chan struct{} // has room for one
	probeNow   chan struct{} // has room for one
}

// New makes a cluster, and reads the list of peer URLs if there is one. It starts nothing. If the list cannot be read, the
// error is a *ClusterFileError.
func New(o Options) (*Cluster, error) {
	u := &Cluster{o: o.withDefaults(), file: newClusterFile(o.FS, o.Dir), refreshNow: make(chan struct{}, 1), probeNow: make(chan struct{}, 1)}
	known, err := u.file.read()
	if err != nil {
		return nil, err
	}
	u.known = known
	return u, nil
}

// Known tells whether there was a list of peer URLs, which replaces the flags (P5).
func (u *Cluster) Known() bool { return u.known != nil }

// Run keeps the endpoints up to date until ctx ends, which is not an error. It fails if there is no list and Options.Peers
// fails.
func (u *Cluster) Run(ctx context.Context) error {
	defer u.list.close()
	first, err := u.firstRecord(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { u.keepRefreshing(ctx, first); return nil })
	group.Go(func() error { u.keepProbing(ctx); return nil })
	return group.Wait()
}

// Endpoints are all endpoints, preferred ones first. The slice must not be changed.
func (u *Cluster) Endpoints() []*Endpoint { return u.list.all() }

// Next gives the endpoint for a request that has tried some; nil: there is none.
func (u *Cluster) Next(tried []*Endpoint) *Endpoint { return u.list.next(tried) }

// Choose gives the endpoint for a request that has tried some, and a usable idle connection to it if there is one and fresh
// is not set. Without an endpoint it gives nil.
func (u *Cluster) Choose(tried []*Endpoint, fresh bool) (*Endpoint, *Conn) {
	for {
		e := u.list.next(tried)
		if e == nil || fresh {
			return e, nil
		}
		known := e.unproven.Load()
		c := e.take()
		if c != nil || known || !e.unproven.Load() {
			return e, c
		}
		u.ProbeSoon() // take has found a restart, so the first choice has changed: choose again
	}
}

// ProbeSoon makes the cluster probe its endpoints without waiting for the next round.
func (u *Cluster) ProbeSoon() { wake(u.probeNow) }

// RefreshSoon makes the cluster ask for its members without waiting for the next interval.
func (u *Cluster) RefreshSoon() { wake(u.refreshNow) }

// wake makes a loop run at once, unless a run is pending.
func wake(loop chan<- struct{}) {
	select {
	case loop <- struct{}{}:
	default:
	}
}

// AnswerTime is how long a member may take to begin or continue an answer.
func (u *Cluster) AnswerTime() time.Duration { return u.o.answerTime() }

// IsHealthy tells whether an available endpoint has answered within the last refresh interval (P37).
func (u *Cluster) IsHealthy() bool {
	since := u.o.now() - int64(max(u.o.RefreshInterval, 2*u.o.FailureWait))
	return slices.ContainsFunc(u.list.all(), func(e *Endpoint) bool {
		answered := e.answered.Load()
		return e.IsAvailable() && answered != 0 && answered > since
	})
}

// MarkUnavailable makes an endpoint unavailable until a probe succeeds.
func (u *Cluster) MarkUnavailable(e *Endpoint, reason string) { u.setOutage(e, Outage{Reason: reason}) }

// setOutage is MarkUnavailable, also for endpoints that remain the last choice. It tells whether the endpoint was available
// before.
func (u *Cluster) setOutage(e *Endpoint, next Outage) bool {
	before := e.outage.Load()
	if before != nil && before.answers == next.answers {
		return false
	}
	next.Since = time.Now()
	if before != nil {
		next.Since = before.Since
	}
	if !e.outage.CompareAndSwap(before, &next) || before != nil {
		return false // another goroutine may have changed it: the next probe corrects it
	}
	u.o.Log.Warnf("proxy: marked endpoint %s unavailable: %s", e.URL, next.Reason)
	e.drop()
	u.RefreshSoon()
	return true
}
