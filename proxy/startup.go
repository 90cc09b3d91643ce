package proxy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A startup is the time in which requests wait for an endpoint. A proxy that starts together with its cluster, or before
// it, finds the members soon, and need not refuse a client that connects as soon as the port is open.
type startup struct {
	until   time.Time
	waiting atomic.Int64 // requests; at most waitingMax
}

const (
	// waitingMax bounds the requests that wait: each has a connection and a goroutine.
	waitingMax = 1024
	// startupCheck is how often a waiting request checks for an endpoint. Only few requests wait, and only for seconds after
	// the start, so changes of endpoints need not be announced.
	startupCheck = 20 * time.Millisecond
)

// await waits for an endpoint, if a request failed at the start because there was none, and tells whether there is one. A request
// that may have been carried out is not tried again.
func (p *Proxy) await(ctx context.Context, q *request, err error) bool {
	var none *noEndpointError
	if !errors.As(err, &none) || none.unknown || q.body != nil && q.body.forgot || time.Now().After(p.startup.until) {
		return false
	}
	defer p.startup.waiting.Add(-1)
	if p.startup.waiting.Add(1) > waitingMax {
		return false
	}
	p.cluster.RefreshSoon()
	p.cluster.ProbeSoon()
	end := time.NewTimer(time.Until(p.startup.until))
	defer end.Stop()
	tick := time.NewTicker(startupCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if p.cluster.Next(nil) != nil {
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
