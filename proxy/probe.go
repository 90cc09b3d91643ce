package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"canopy/internal/lasting"
)

const (
	// probeSpacing is the least time between probes, and the time between them while no endpoint is available.
	probeSpacing = 100 * time.Millisecond
	// manyWatches is how many watches must come or go before their memory is returned to the system: opening a watch takes
	// several times the memory of an open one, and open ones alone cause no collection.
	manyWatches = 256
	// probeBytesMax bounds how much of an answer is read.
	probeBytesMax = 4 << 10
)

// verdict is the result of a probe.
type verdict struct {
	endpoint *endpoint
	rest     *rest // of the endpoint when the probe began
	err      error
	reached  bool          // a connection was made
	here     bool          // the connection ended on this host
	took     time.Duration // of the last answer
	ready    bool          // it has caught up with a quorum
}

// keepProbing probes all endpoints until ctx ends, so that unavailable ones come back without a request of a client, and
// frozen ones are detected (P17, P18).
func (p *Proxy) keepProbing(ctx context.Context) {
	watches := int64(0) // when memory was returned last
	for {
		wait := p.o.FailureWait
		if !p.list.isAnyWell() {
			wait = min(wait, probeSpacing)
		}
		if !sleep(ctx, min(wait, probeSpacing), nil) || !sleep(ctx, wait-probeSpacing, p.probeNow) {
			return
		}
		p.probeAll(ctx)
		p.remind(time.Now())
		for _, e := range p.list.all() {
			e.expire(time.Now().Add(-idleTimeout))
		}
		if n := p.watches.n.Load(); n > watches+manyWatches || n < watches-manyWatches {
			watches = n
			debug.FreeOSMemory()
		}
	}
}

// remind tells each minute of endpoints that are still unavailable. The beginning and the end are told elsewhere, at once.
func (p *Proxy) remind(now time.Time) {
	for _, e := range p.list.all() {
		rest := e.resting.Load()
		if moment, lasted := e.away.Observe(rest != nil, now); moment == lasting.Lasts {
			p.o.Log.Warnf("proxy: endpoint %s is still unavailable, for %v: %s", e.url, lasted, rest.reason)
		}
	}
}

// probeAll probes all endpoints at once.
func (p *Proxy) probeAll(ctx context.Context) {
	list := p.list.all()
	verdicts := make([]verdict, len(list))
	var probes sync.WaitGroup
	for n, e := range list {
		probes.Go(func() { verdicts[n] = p.probe(ctx, e) })
	}
	probes.Wait()
	if ctx.Err() == nil {
		p.judge(verdicts)
	}
}

// judge makes endpoints unavailable or available. A fault of all of them does not count against any.
func (p *Proxy) judge(verdicts []verdict) {
	answered, ready := false, false
	for _, v := range verdicts {
		answered = answered || v.err == nil
		ready = ready || v.ready
	}
	var unwell []*endpoint
	for _, v := range verdicts {
		found := rest{reason: "it is starting, or has no quorum", answers: true}
		switch {
		case v.err != nil && (answered || !v.reached):
			found = rest{reason: v.err.Error()}
		case v.err != nil: // none answered: this machine may have been too busy
			continue
		case v.ready || !ready:
			p.wakeUp(v)
			continue
		}
		if p.restAs(v.endpoint, found) {
			wake(p.probeNow)
		} else {
			unwell = append(unwell, v.endpoint)
		}
	}
	if p.list.arrange() {
		p.o.Log.Infof("proxy: the first choice is now %s, which is nearer", p.list.all()[0].url)
	}
	p.moveWatches(unwell)
}

// moveWatches moves the watches of endpoints that failed twice in a row to others. A single failure may be a lost packet,
// and is no reason to cut watches that have delivered something. While no other endpoint is available they stay: this
// machine may have been cut off.
func (p *Proxy) moveWatches(unwell []*endpoint) {
	if !p.list.isAnyWell() {
		return
	}
	for _, e := range unwell {
		e.letGo()
	}
}

// wakeUp makes an endpoint available again, unless it became unavailable after the probe began.
func (p *Proxy) wakeUp(v verdict) {
	e := v.endpoint
	e.unproven.Store(false)
	if v.rest != nil && e.resting.CompareAndSwap(v.rest, nil) {
		p.o.Log.Infof("proxy: marked endpoint %s available", e.url)
	}
}

// probe asks one endpoint for its version and, if a member serves there, for its health. A member is healthy once it has
// caught up with the others, and as long as it is connected to them.
func (p *Proxy) probe(ctx context.Context, e *endpoint) verdict {
	v := verdict{endpoint: e, rest: e.resting.Load()}
	var version struct{ Etcdcluster string }
	status, err := p.ask(ctx, &v, "/version", &version)
	switch {
	case err != nil:
		v.err = fmt.Errorf("/version: %w", err)
	case status == http.StatusLoopDetected:
		v.err = errLeadsBack
	case status != http.StatusOK:
		v.err = fmt.Errorf("/version was answered with status %d", status)
	default:
		e.answered.Store(p.o.now())
		e.distance.measure(v.here, v.took, time.Now(), distanceSpan*p.o.FailureWait)
	}
	if v.err != nil || version.Etcdcluster == "not_decided" {
		return v // it is starting, or has never had a leader
	}
	status, err = p.ask(ctx, &v, "/health", nil)
	v.ready = err == nil && status < http.StatusInternalServerError
	return v
}

var errLeadsBack = errors.New("leads back to this proxy")

// ask makes a request on a new connection, since the failure of an idle one would prove nothing. A server that leads back to
// this proxy answers 508.
func (p *Proxy) ask(ctx context.Context, v *verdict, path string, into any) (status int, err error) {
	c, err := v.endpoint.dial(ctx)
	v.reached = err == nil || isOwnFault(err) // then the endpoint is not at fault
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.interrupt)()
	v.here = p.o.isHere(c)
	c.expectBy(time.Second + 2*p.o.Election)
	head := "GET " + path + " HTTP/1.1\r\nHost: " + v.endpoint.address + "\r\nConnection: close\r\n" + headerProxies + ": " + p.id + "\r\n\r\n"
	asked := time.Now()
	if _, err := c.send([]byte(head)); err != nil {
		return 0, err
	}
	answer, err := c.receive(http.MethodGet)
	v.took = time.Since(asked)
	if err != nil {
		return 0, err
	}
	if into == nil || answer.StatusCode != http.StatusOK {
		return answer.StatusCode, nil
	}
	return answer.StatusCode, json.NewDecoder(io.LimitReader(answer.Body, probeBytesMax)).Decode(into)
}
