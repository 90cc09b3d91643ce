package etcdserver

import (
	"context"
	"errors"
	"io"
	"sync"

	"canopy/raft"
	"canopy/rafthttp"
)

// network connects members of one process. What it carries goes from goroutine
// to goroutine; links can be cut, in one direction or both.
type network struct {
	mu    sync.Mutex // guards what is below
	ports map[raft.MemberID]*port
	cuts  map[[2]raft.MemberID]bool
}

func newNetwork() *network {
	return &network{ports: map[raft.MemberID]*port{}, cuts: map[[2]raft.MemberID]bool{}}
}

// transport is what Options.Transport wants.
func (n *network) transport(self rafthttp.Identity, owner rafthttp.Owner) Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &port{network: n, self: self, owner: owner, links: map[raft.MemberID]*inbox[func(context.Context)]{}}
	n.ports[self.Member] = p
	return p
}

// cut stops, or lets go on, what goes from one member to another.
func (n *network) cut(from, to ID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]raft.MemberID{from.raft(), to.raft()}] = cut
}

// isolate cuts a member off from all others, both ways.
func (n *network) isolate(id ID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.ports {
		n.cuts[[2]raft.MemberID{id.raft(), other}] = cut
		n.cuts[[2]raft.MemberID{other, id.raft()}] = cut
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

	mu    sync.Mutex // guards links
	links map[raft.MemberID]*inbox[func(context.Context)]
	wake  func(*inbox[func(context.Context)])
}

func (p *port) Run(ctx context.Context) error {
	var all sync.WaitGroup
	p.mu.Lock()
	p.wake = func(queue *inbox[func(context.Context)]) {
		all.Go(func() {
			for {
				select {
				case <-queue.wake:
					for _, each := range queue.take(nil) {
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
	<-ctx.Done()
	p.setRunning(false)
	p.mu.Lock()
	p.wake = func(*inbox[func(context.Context)]) {}
	p.mu.Unlock()
	all.Wait()
	return nil
}

func (p *port) setRunning(running bool) {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	p.running = running
}

// queue has something done on the link to a member, in order.
func (p *port) queue(to raft.MemberID, do func(context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.links[to]
	if q == nil {
		q = newInbox[func(context.Context)](1 << 16)
		p.links[to] = q
		if p.wake != nil {
			p.wake(q)
		}
	}
	return q.put(do)
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
	hand(other.owner)
}

func (p *port) SetPeers([]rafthttp.Peer) {}

func (p *port) Send(out []raft.Outbound) {
	for _, each := range out {
		p.queue(each.To, func(ctx context.Context) {
			p.deliver(each.To, func(o rafthttp.Owner) { o.Receive(ctx, p.self.Member, []raft.Message{each.Message}) })
		})
	}
}

func (p *port) SendNote(to raft.MemberID, note []byte) bool {
	return p.queue(to, func(ctx context.Context) {
		p.deliver(to, func(o rafthttp.Owner) { o.ReceiveNote(ctx, p.self.Member, note) })
	})
}

var errUnreachable = errors.New("unreachable")

func (p *port) SendSnapshot(ctx context.Context, to raft.MemberID, m raft.Snapshot, body io.Reader, _ int64) error {
	err := errUnreachable
	p.deliver(to, func(o rafthttp.Owner) { err = o.ReceiveSnapshot(ctx, p.self.Member, m, body) })
	return err
}

func (p *port) Status() []rafthttp.PeerStatus { return nil }
