package bootstrap

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"canopy/etcdserver/replica"
)

// askTimeout is how long another member may take to say whom it knows.
const askTimeout = 2 * time.Second

// knowsStarted asks a member whether the member with the id has run before. It
// tries the member's URLs one after the other.
func (f *Finder) knowsStarted(ctx context.Context, urls []string, id uint64) (bool, error) {
	var last error
	for _, u := range urls {
		started, err := f.askStarted(ctx, u, id)
		if err == nil {
			return started, nil
		}
		last = err
	}
	return false, last
}

// askStarted accepts a no only from a member that can read linearizably: one
// that lags, or has no leader yet, may not know that another has run.
func (f *Finder) askStarted(ctx context.Context, peerURL string, id uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, members, err := f.fetch(ctx, peerURL)
	if err != nil || hasRun(members, id) {
		return err == nil, err
	}
	if err := f.healthy(ctx, peerURL); err != nil {
		return false, fmt.Errorf("%s cannot read what is committed: %w", peerURL, err)
	}
	_, members, err = f.fetch(ctx, peerURL)
	return hasRun(members, id), err
}

// healthy asks a member to read linearizably. It uses the peer port: this member
// need not have a certificate for the client ports of others.
func (f *Finder) healthy(ctx context.Context, peerURL string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(peerURL, "/")+"/health", http.NoBody)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is %d", response.StatusCode)
	}
	return nil
}

func hasRun(members []replica.MemberInfo, id uint64) bool {
	return slices.ContainsFunc(members, func(m replica.MemberInfo) bool { return uint64(m.ID) == id && len(m.ClientURLs) > 0 })
}
