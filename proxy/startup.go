package proxy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A startup is the time in which requests wait for an endpoint: a proxy that is started together with its cluster, or
// before it, finds the members soon. A client that comes as soon as the port is open would be refused without reason.
type startup struct {
	until   time.Time
	waiting atomic.Int64 // requests; at most waitingMax
}

const (
	// waitingMax bounds the requests that wait: each has a connection and a goroutine.
	waitingMax = 1024
	// startupLook is how often a request looks for an endpoint while it waits. Some look during a few seconds of the
	// life of a process, so that nobody needs to be told of each change of an endpoint.
	startupLook = 20 * time.Millisecond
)

// await waits for an endpoint to try, if a request failed for want of one at the start, and tells whether there is one.
// A request that may have been done is not tried again.
func (p *Proxy) await(ctx context.Context, q *request, err error) bool {
	var none *noEndpointError
	if !errors.As(err, &none) || none.unknown || q.body != nil && q.body.forgot || time.Now().After(p.startup.until) {
		return false
	}
	defer p.startup.waiting.Add(-1)
	if p.startup.waiting.Add(1) > waitingMax {
		return false
	}
	wake(p.refreshNow)
	wake(p.probeNow)
	end := time.NewTimer(time.Until(p.startup.until))
	defer end.Stop()
	tick := time.NewTicker(startupLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if p.list.next(nil) != nil {
				q.tried, q.silent, q.fresh = nil, nil, false
				return true
			}
		case <-end.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
