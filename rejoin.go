package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"canopy/client"
	"canopy/etcdserver"
)

// rejoin gives a member whose data is gone a new place in its cluster: what it
// was is removed, and it is added anew, as a learner. The other members do
// that, over the API that operators use.
func (p *peering) rejoin(ctx context.Context, was *etcdserver.Joined, cluster map[string][]string) (*etcdserver.Joined, error) {
	p.logger.Warnf("member %v has run before and its data is gone: it is removed, and added anew (--rejoin)", was.Self)
	var own etcdserver.MemberInfo
	var doors []string
	for _, m := range was.Members {
		if m.ID == was.Self {
			own = m
		} else {
			doors = append(doors, m.ClientURLs...)
		}
	}
	c, err := client.New(client.Config{Endpoints: doors})
	if err != nil {
		return nil, fmt.Errorf("--rejoin: find another member: %w", err)
	}
	defer c.Close()
	if err := c.RemoveMember(ctx, client.MemberID(was.Self)); err != nil && !answered(err, http.StatusGone) {
		return nil, fmt.Errorf("--rejoin: remove member %v: %w", was.Self, err)
	}
	if _, err := c.AddMember(ctx, own.PeerURLs); err != nil && !answered(err, http.StatusConflict) {
		return nil, fmt.Errorf("--rejoin: add a member at %v: %w", own.PeerURLs, err)
	}
	return p.join(ctx, cluster)
}

// answered tells whether a change was answered like that: it was done before.
func answered(err error, status int) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Status == status
}
