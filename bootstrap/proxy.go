package bootstrap

import (
	"context"
	"time"

	"canopy/discovery"
)

// otherCluster is how long a proxy that reaches no member of the cluster it
// knows looks for another one.
const otherCluster = 10 * time.Second

// PeerURLs finds the peer URLs of a cluster for a proxy (P3). It waits until
// discovery finds them (D39), but not for long if the proxy knows a cluster.
func (f *Finder) PeerURLs(ctx context.Context, known bool) ([]string, error) {
	if given, err := f.Config.FirstPeerURLs(); err != nil || !f.Config.Discovery.On() {
		return given, err
	}
	if known {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, otherCluster)
		defer cancel()
	}
	if f.Config.Discovery.SRV != "" {
		return f.records().Peers(ctx)
	}
	token, err := discovery.ParseToken(f.Config.Discovery.URL)
	if err != nil {
		return nil, err
	}
	peers, err := discovery.Members(ctx, f.tokenOptions(token))
	return PeerURLs(peers), err
}

// PeerURLs are those of all the peers.
func PeerURLs(peers []discovery.Peer) []string {
	var urls []string
	for _, peer := range peers {
		urls = append(urls, peer.PeerURLs...)
	}
	return urls
}
