package rafthttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"canopy/raft"
)

// PeerStatus is the state of the connections to a peer.
type PeerStatus struct {
	ID             raft.MemberID
	Active         bool          // both lanes have their stream
	DialsHere      bool          // it has a stream to this member, too
	Since          time.Time     // when Active changed last; zero: it never has
	LastHeard      time.Time     // the last bytes from it, with a monotonic part; zero: never
	LastError      error         // the last failure to reach it; nil: none since the start
	RoundTrip      time.Duration // smoothed; 0: not measured yet
	QueuedMessages int           // on both lanes, not written yet
	QueuedBytes    int64
	SnapshotSent   int64 // bytes of the snapshot that is being sent, or was sent last
	SnapshotSize   int64 // size of that snapshot; 0: none is being sent
}

// target is where to dial.
type target struct {
	id          raft.MemberID
	name        string // "": not known
	urls        []string
	incarnation *[16]byte // nil: not known
	addresses   []netip.Addr
}

// peer is another member, until it is removed.
type peer struct {
	id    raft.MemberID
	t     *Transport
	lanes [laneKinds]*lane
	stop  context.CancelFunc // nil until started; guarded by t.mu

	target       atomic.Pointer[target]
	heard        atomic.Int64 // nanoseconds since t.began, by the monotonic clock; 0: never
	roundTrip    atomic.Int64 // nanoseconds
	snapshotSent atomic.Int64
	snapshotSize atomic.Int64
	address      atomic.Pointer[netip.Addr] // from which, or at which, it was reached last

	// mu guards what is below, for a few lines.
	mu        sync.Mutex
	up        [laneKinds]bool
	retired   bool // not a member any more: nothing changes
	active    bool
	since     time.Time
	lastError error
	warned    map[string]time.Time // of each kind of failure of TLS, since the peer was active last
}

// Bounds of what is queued for one peer.
const (
	controlItemsMax = 4096
	controlBytesMax = 8 << 20
	logItemsMax     = 4096
	logBytesMax     = 96 << 20
)

func newPeer(t *Transport, id raft.MemberID) *peer {
	p := &peer{id: id, t: t}
	p.lanes[controlLane] = newLane(p, controlLane, newQueue(controlItemsMax, controlBytesMax))
	p.lanes[logLane] = newLane(p, logLane, newQueue(logItemsMax, logBytesMax))
	return p
}

// setTarget sets where the peer is. If that has changed, its streams are dialled again.
func (p *peer) setTarget(to Peer) {
	next := &target{id: p.id, name: to.Name, urls: slices.Clone(to.URLs), addresses: addressesOf(to.URLs)}
	if len(to.Incarnation) == len(next.incarnation) {
		next.incarnation = (*[16]byte)(slices.Clone(to.Incarnation))
	}
	before := p.target.Swap(next)
	if before == nil || slices.Equal(before.urls, next.urls) {
		return
	}
	for _, l := range p.lanes {
		l.interrupt(errMoved)
		l.dialNow()
	}
}

var (
	errMoved   = errors.New("the peer has other URLs now")
	errRetired = errors.New("the peer is not a member any more")
)

// retire ends the lanes. p.t.mu is held.
func (p *peer) retire() {
	if p.stop != nil {
		p.stop()
	}
	for _, l := range p.lanes {
		l.interrupt(errRetired)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	if p.active {
		p.deactivate(errRetired)
	}
}

// deactivate marks the peer as not active. p.mu is held.
func (p *peer) deactivate(why error) {
	p.active, p.since = false, time.Now()
	p.t.journal.log.Infof("the connection with %x became inactive (%v): %s", uint64(p.id), why, p.target.Load().about())
	p.t.o.Observer.active(p.id, false)
}

// Knows tells whether a peer has an address in that network: by its URLs, or by a connection.
func (t *Transport) Knows(network netip.Prefix) bool {
	for _, p := range *t.peers.Load() {
		if a := p.address.Load(); a != nil && network.Contains(*a) {
			return true
		}
		if to := p.target.Load(); to != nil && slices.ContainsFunc(to.addresses, network.Contains) {
			return true
		}
	}
	return false
}

// recordAddress records the address of the peer.
func (p *peer) recordAddress(at net.Addr) {
	if tcp, ok := at.(*net.TCPAddr); ok {
		a := tcp.AddrPort().Addr().Unmap().WithZone("")
		p.address.Store(&a)
	}
}

// addressesOf gives the addresses in URLs, without names.
func addressesOf(urls []string) []netip.Addr {
	var all []netip.Addr
	for _, u := range urls {
		parsed, err := url.Parse(u)
		if err != nil {
			continue // dialling reports that
		}
		if a, err := netip.ParseAddr(parsed.Hostname()); err == nil {
			all = append(all, a.Unmap().WithZone(""))
		}
	}
	return all
}

// recordHeard records that the peer has sent something.
func (p *peer) recordHeard(now time.Time) { p.heard.Store(max(1, int64(now.Sub(p.t.began)))) }

// recordRoundTrip records the round trip of a ping.
func (p *peer) recordRoundTrip(d time.Duration) {
	const weight = 8 // of the previous value, as in TCP
	smooth := time.Duration(p.roundTrip.Load())
	if smooth == 0 {
		smooth = d
	}
	p.roundTrip.Store(int64(smooth + (d-smooth)/weight))
	p.t.o.Observer.roundTrip(p.id, d)
}

// connected records that a lane has its stream.
func (p *peer) connected(l laneKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up[l] = true
	if p.retired || p.active || !p.up[controlLane] || !p.up[logLane] {
		return
	}
	p.active, p.since, p.warned = true, time.Now(), nil
	p.t.journal.log.Infof("the connection with %x became active: %s", uint64(p.id), p.target.Load().about())
	p.t.o.Observer.active(p.id, true)
}

// disconnected records that a lane has no stream, and why. The owner sees it in Status, and warns if it lasts.
func (p *peer) disconnected(l laneKind, err error) {
	p.t.o.Observer.failed(p.id)
	reachesHere := p.t.isDialledBy(p.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up[l], p.lastError = false, err
	if p.active {
		p.deactivate(fmt.Errorf("stream %s: %w", l, err))
		return
	}
	if text := p.complaint(err, time.Now()); text != "" {
		if reachesHere {
			text += "; it reaches this member, so the connection works in one direction only" // T33
		}
		p.t.journal.log.Warnf("failed to dial %s: %s", p.title(), text)
		return
	}
	p.t.journal.log.Debugf("failed to dial %s on stream %s (%v)", p.title(), l, err)
}

// title names the peer in log lines: by its id, its name if that is known, and its URL.
func (p *peer) title() string { return p.target.Load().title() }

func (to *target) title() string { return fmt.Sprintf("%x (%s)", uint64(to.id), to.about()) }

func (to *target) about() string {
	urls := strings.Join(to.urls, " ")
	if to.name == "" {
		return urls
	}
	return to.name + ", " + urls
}

func (p *peer) status() PeerStatus {
	s := PeerStatus{ID: p.id, RoundTrip: time.Duration(p.roundTrip.Load())}
	if heard := p.heard.Load(); heard != 0 {
		s.LastHeard = p.t.began.Add(time.Duration(heard))
	}
	s.SnapshotSent, s.SnapshotSize = p.snapshotSent.Load(), p.snapshotSize.Load()
	for _, l := range p.lanes {
		items, bytes := l.queue.length()
		s.QueuedMessages += items
		s.QueuedBytes += bytes
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Active, s.Since, s.LastError = p.active, p.since, p.lastError
	return s
}

// title names a member in log lines; it need not be a peer.
func (t *Transport) title(id raft.MemberID) string {
	if p := t.peer(id); p != nil {
		return p.title()
	}
	return fmt.Sprintf("%x", uint64(id))
}

// isDialledBy tells whether a member has a stream to this one.
func (t *Transport) isDialledBy(id raft.MemberID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inbound[inboundKey{id, controlLane}] != nil
}

// Status gives the state of the connections to all peers, by id.
func (t *Transport) Status() []PeerStatus {
	var all []PeerStatus
	t.mu.Lock()
	for _, p := range *t.peers.Load() {
		s := p.status()
		s.DialsHere = t.inbound[inboundKey{p.id, controlLane}] != nil
		all = append(all, s)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b PeerStatus) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}
