package etcdserver

import (
	"context"
	"time"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/memberlog"
)

// authRecovery disables users for an operator who has lost the password of root (A71). Whoever starts a member with a flag has
// its data directory, and so may do everything.
type authRecovery struct {
	status   *status
	requests *requests
	log      memberlog.Log
	ready    <-chan struct{} // closed when the member is published
}

// recoveryPause is between tries: there may be no quorum.
const recoveryPause = time.Second

// run disables users once the member serves, and ends.
func (r *authRecovery) run(ctx context.Context) error {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil
	}
	for {
		now := r.status.Auth()
		if !now.Enabled() {
			r.log.UsersRecovered()
			return nil
		}
		root := Origin{Requester: auth.Requester{User: auth.Root}, Revision: now.Revision()}
		if _, err := r.requests.ChangeAuth(ctx, root, auth.Disable{}); err == nil {
			continue
		} else if ctx.Err() == nil {
			r.log.UsersNotRecovered(err)
		}
		select {
		case <-time.After(recoveryPause):
		case <-ctx.Done():
			return nil
		}
	}
}
