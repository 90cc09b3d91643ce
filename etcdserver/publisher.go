package etcdserver

import (
	"context"
	"slices"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/internal/lasting"
)

// publisher publishes the member's name and client URLs to the cluster, once (M4). Only the
// goroutine of run calls its methods.
type publisher struct {
	name         string
	peerURLs     []string // as given at the start
	clientURLs   []string
	incarnation  []byte
	forced       bool // other peer URLs were given: peerURLs are not compared
	samePeers    SamePeers
	status       *status
	requests     *requests
	log          memberlog.Log
	restored     func(context.Context) error
	versionKnown <-chan struct{}
	ready        chan<- struct{} // closed once the member is published, and the version is known
}

// run publishes the member until the cluster has taken it. If the others look for the member
// at other URLs, this may fail, so the URLs are compared before.
func (p *publisher) run(ctx context.Context) error {
	if p.restored(ctx) != nil {
		return nil
	}
	compared := p.comparePeerURLs(ctx)
	publish := &pb.Request{Kind: &pb.Request_Publish{Publish: &pb.Attributes{
		Member: uint64(p.status.self), Name: p.name, ClientUrls: p.clientURLs,
		Incarnation: p.incarnation, ServerVersion: APIVersion,
	}}}
	if err := p.propose(ctx, publish); err != nil {
		return nil
	}
	p.log.Published(p.name, p.clientURLs, p.status.cluster)
	if !compared {
		p.comparePeerURLs(ctx)
	}
	for _, other := range p.status.Members() {
		if other.Name == p.name && other.ID != p.status.self {
			p.log.SameName(other.Name, p.status.self, other.ID)
		}
	}
	select {
	case <-p.versionKnown:
		close(p.ready)
	case <-ctx.Done():
	}
	return nil
}

// comparePeerURLs warns if the cluster knows this member at other URLs than
// those given. False: the log has not told of this member yet.
func (p *publisher) comparePeerURLs(ctx context.Context) bool {
	own, known := p.status.apply.Present().Members.Members[p.status.self]
	given := p.peerURLs
	if !known {
		return false
	}
	same := len(given) == 0 || p.forced || slices.Equal(own.PeerURLs, slices.Sorted(slices.Values(given)))
	if !same && p.samePeers != nil {
		same = p.samePeers(ctx, own.PeerURLs, given)
	}
	if !same {
		p.log.OtherPeerURLs(own.PeerURLs, given)
	}
	return true
}

// propose proposes r until it is applied or ctx ends.
func (p *publisher) propose(ctx context.Context, r *pb.Request) error {
	var failing lasting.Condition
	for {
		_, err := p.requests.propose(ctx, r)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if moment, lasted := failing.Observe(true, time.Now()); moment != lasting.Quiet {
			p.log.Unpublished(lasted, err, p.status.reach())
		}
		select {
		case <-time.After(sweepEvery): // too many requests may be waiting
		case <-ctx.Done():
		}
	}
}
