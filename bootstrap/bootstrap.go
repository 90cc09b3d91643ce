// Package bootstrap finds the members of a cluster at the first start of a
// process, and asks them who they are.
//
// A member looks for the others in the list that it was given, in DNS, or by a
// discovery token. Then it asks whether it has run before: a member that lost
// its data must not vote again under its old ID. A proxy looks for the cluster
// in the same three places.
package bootstrap

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver/firststart"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/rafthttp"
)

// Options are what a first start needs.
type Options struct {
	Config  config.Config
	FS      disk.FS             // has the data directory of a member
	Waiting func(status string) // is called when only other processes can help
	Log     *logrus.Logger

	// DialTLS connects to a member whose URL is https, as http.Transport.DialTLSContext; required with such URLs.
	DialTLS func(ctx context.Context, network, address string) (net.Conn, error)
}

// Finder finds the members of a cluster.
type Finder struct {
	Options
	client *http.Client
	called bool // Members was called: it is the first start
}

// New makes a Finder.
func New(o Options) *Finder {
	return &Finder{Options: o, client: &http.Client{
		Transport:     &http.Transport{DialTLSContext: o.DialTLS, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a member answers itself
	}}
}

// Members checks the flags of the first start, finds the members, and asks
// them about this one. It is called only if the data directory has no log.
func (f *Finder) Members(ctx context.Context) (firststart.Bootstrap, error) {
	f.called = true
	b, err := f.Config.Bootstrap(net.LookupHost)
	if err != nil {
		return firststart.Bootstrap{}, err
	}
	b, first, err := f.firstMembers(ctx, b)
	if err != nil {
		return firststart.Bootstrap{}, err
	}
	for _, line := range b.Summary() {
		f.Log.Info(line)
	}
	if !b.Joins {
		f.Waiting("asks the other members whether this one has run before")
		return first, firststart.CheckUnstarted(ctx, f.fetch, f.Config.Name, first)
	}
	if !f.Config.Raft.AutoPromote {
		f.Log.Warn("--auto-promote=false has no effect on this member, which joins: the flag of the member that leads decides whether this one becomes a voter")
	}
	f.Waiting("asks the members of the cluster who they are, to join it")
	first.Joined, err = f.join(ctx, first.Cluster)
	if ran := (*firststart.AlreadyBootstrappedError)(nil); errors.As(err, &ran) && b.Rejoin {
		first.Joined, err = f.rejoin(ctx, first.Joined, first.Cluster)
	}
	return first, err
}

// Done is called once the member has a log: discovery is over.
func (f *Finder) Done() {
	if c := f.Config; c.Discovery.On() && !f.called {
		f.Log.Warnf("discovery token ignored since a cluster has already been initialized. Valid log found at %q", c.LogDir())
	}
	if err := discovery.Forget(disk.OS{}, f.Config.MemberDir()); err != nil {
		f.Log.Warnf("remove the file of a discovery that has ended: %v", err)
	}
}

func (f *Finder) join(ctx context.Context, cluster map[string][]string) (*firststart.Joined, error) {
	same := func(x, y []string) bool { return config.SamePeers(x, y, net.LookupHost) }
	wait := func(why string) { f.Log.Warnf("cannot join the cluster yet: %s", why) }
	return firststart.Join(ctx, f.fetch, f.Config.Name, cluster, same, wait)
}

// fetch asks a peer URL who the members are.
func (f *Finder) fetch(ctx context.Context, peerURL string) (replica.ID, []replica.MemberInfo, error) {
	cluster, remote, err := rafthttp.FetchMembers(ctx, f.client, peerURL)
	if err != nil {
		return 0, nil, err
	}
	var members []replica.MemberInfo
	for _, m := range remote {
		members = append(members, replica.MemberInfo{ID: replica.ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return replica.ID(cluster), members, nil
}

// SamePeers compares peer URLs by their addresses: the list may have names where
// this member has addresses, as with DNS. If a name does not resolve, the URLs
// may be the same.
func SamePeers(ctx context.Context, x, y []string) bool {
	unsure := false
	lookup := func(host string) ([]string, error) {
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		unsure = unsure || err != nil
		return found, err
	}
	return config.SamePeers(x, y, lookup) || unsure
}
