package etcdserver

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"canopy/etcdserver/inbox"
	"canopy/raft"
	"canopy/rafthttp"
)

// network connects members of one process. What it carries goes from goroutine
// to goroutine; links can be cut, in one direction or both, and be bad.
type network struct {
	mu         sync.Mutex                                     // guards what is below
	conditions func(on link) (delay time.Duration, lost bool) // nil: always fine

	ports map[raft.MemberID]*port
	cuts  map[[2]raft.MemberID]bool
}

// link is one lane of what goes from a member to another: in order, or lost.
type link struct {
	from, to raft.MemberID
	lane     byte
}

// The lanes, as of rafthttp: log and envelopes go beside the rest.
const (
	controlLane byte = iota
	logLane
	snapshotLane
)

// arrival is when a message that is sent now arrives, or that it is lost.
func (n *network) arrival(on link) (arrival time.Time, lost bool) {
	n.mu.Lock()
	conditions := n.conditions
	n.mu.Unlock()
	if conditions == nil {
		return time.Now(), false
	}
	delay, lost := conditions(on)
	return time.Now().Add(delay), lost
}

func newNetwork() *network {
	return &network{ports: map[raft.MemberID]*port{}, cuts: map[[2]raft.MemberID]bool{}}
}

// transport is what Options.Transport wants.
func (n *network) transport(self rafthttp.Identity, owner rafthttp.Owner) Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &port{network: n, self: self, owner: owner, heard: map[raft.MemberID]time.Time{}, links: map[link]*inbox.Inbox[func(context.Context)]{}}
	n.ports[self.Member] = p
	return p
}

// change has other conditions from now on.
func (n *network) change(conditions func(on link) (delay time.Duration, lost bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conditions = conditions
}

// cut stops, or lets go on, what goes from one member to another.
func (n *network) cut(from, to ID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]raft.MemberID{from.Raft(), to.Raft()}] = cut
}

// isolate cuts a member off from all others, both ways.
func (n *network) isolate(id ID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.ports {
		n.cuts[[2]raft.MemberID{id.Raft(), other}] = cut
		n.cuts[[2]raft.MemberID{other, id.Raft()}] = cut
	}
}

// reach gives the port of a member that can be reached and lets itself be talked to.
func (n *network) reach(from *port, to raft.MemberID) *port {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[to]
	if p == nil || !p.running || n.cuts[[2]raft.MemberID{from.self.Member, to}] || p.self.Cluster != from.self.Cluster {
		return nil
	}
	return p
}

// port is one member's place in the network.
type port struct {
	network *network
	self    rafthttp.Identity
	owner   rafthttp.Owner
	running bool // guarded by network.mu

	mu    sync.Mutex // guards what is below
	peers []rafthttp.Peer
	heard map[raft.MemberID]time.Time
	links map[link]*inbox.Inbox[func(context.Context)]
	wake  func(*inbox.Inbox[func(context.Context)])
}

func (p *port) Run(ctx context.Context) error {
	var all sync.WaitGroup
	p.mu.Lock()
	p.wake = func(queue *inbox.Inbox[func(context.Context)]) {
		all.Go(func() {
			for {
				select {
				case <-queue.Wake():
					for _, each := range queue.Take(nil) {
						each(ctx)
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for _, queue := range p.links {
		p.wake(queue)
	}
	p.mu.Unlock()
	p.setRunning(true)
	p.greet(ctx)
	p.setRunning(false)
	p.mu.Lock()
	p.wake = func(*inbox.Inbox[func(context.Context)]) {}
	p.mu.Unlock()
	all.Wait()
	return nil
}

// greet shakes hands with all peers again and again, as who has lost its
// streams does, until ctx ends.
func (p *port) greet(ctx context.Context) {
	tick := time.NewTicker(531 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		peers := p.peers
		p.mu.Unlock()
		for _, each := range peers {
			p.queue(each.ID, controlLane, func(context.Context) { p.deliver(each.ID, func(rafthttp.Owner) {}) })
		}
	}
}

func (p *port) setRunning(running bool) {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	p.running = running
}

// queue has something done on a link, in order, when it arrives.
func (p *port) queue(to raft.MemberID, lane byte, do func(context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	on := link{p.self.Member, to, lane}
	q := p.links[on]
	if q == nil {
		q = inbox.New[func(context.Context)](1 << 16)
		p.links[on] = q
		if p.wake != nil {
			p.wake(q)
		}
	}
	arrival, lost := p.network.arrival(on)
	return q.Put(func(ctx context.Context) {
		switch {
		case !travel(ctx, arrival):
		case lost:
			p.owner.Lost(to)
		default:
			do(ctx)
		}
	})
}

// travel waits for the arrival; false if the sender is gone first.
func travel(ctx context.Context, arrival time.Time) bool {
	wait := time.Until(arrival)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// deliver runs on the link: it finds the other side, which may refuse.
func (p *port) deliver(to raft.MemberID, hand func(rafthttp.Owner)) {
	other := p.network.reach(p, to)
	if other == nil {
		p.owner.Lost(to)
		return
	}
	if refusal := other.owner.Admit(p.self.Member, p.self.Incarnation); refusal != nil {
		if refusal.Reason == rafthttp.Removed {
			p.owner.Removed(to, refusal.Term, refusal.Index)
		}
		p.owner.Lost(to)
		return
	}
	other.mu.Lock()
	other.heard[p.self.Member] = time.Now()
	other.mu.Unlock()
	hand(other.owner)
}

func (p *port) SetPeers(peers []rafthttp.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers = peers
}

func (p *port) Send(out []raft.Outbound) {
	for _, each := range out {
		lane := controlLane
		if _, log := each.Message.(raft.Append); log {
			lane = logLane
		}
		p.queue(each.To, lane, func(ctx context.Context) {
			p.deliver(each.To, func(o rafthttp.Owner) { o.Receive(ctx, p.self.Member, []raft.Message{each.Message}) })
		})
	}
}

func (p *port) SendEnvelope(to raft.MemberID, envelope []byte) bool {
	return p.queue(to, logLane, func(ctx context.Context) {
		p.deliver(to, func(o rafthttp.Owner) { o.ReceiveEnvelope(ctx, p.self.Member, envelope) })
	})
}

var errUnreachable = errors.New("unreachable")

func (p *port) SendSnapshot(ctx context.Context, to raft.MemberID, m raft.Snapshot, body io.Reader, _ int64) error {
	err := errUnreachable
	if arrival, lost := p.network.arrival(link{p.self.Member, to, snapshotLane}); lost || !travel(ctx, arrival) {
		return err
	}
	p.deliver(to, func(o rafthttp.Owner) { err = o.ReceiveSnapshot(ctx, p.self.Member, m, body) })
	return err
}

func (p *port) Status() []rafthttp.PeerStatus {
	p.mu.Lock()
	peers := p.peers
	p.mu.Unlock()
	var all []rafthttp.PeerStatus
	for _, each := range peers {
		s := rafthttp.PeerStatus{ID: each.ID, LastError: errUnreachable}
		if other := p.network.reach(p, each.ID); other != nil {
			s.Active, s.LastError = true, nil
			s.DialsHere = p.network.reach(other, p.self.Member) != nil
		}
		p.mu.Lock()
		s.LastHeard = p.heard[each.ID]
		p.mu.Unlock()
		all = append(all, s)
	}
	return all
}
