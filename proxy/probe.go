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
)

const (
	// probeSpacing is how far probes are apart at least, and while no endpoint is available.
	probeSpacing = 100 * time.Millisecond
	// manyWatches is how many watches have to come or go for their memory to be given back to the system: what it takes
	// to open one is several times what an open one needs, and a process full of them makes no more garbage.
	manyWatches = 256
	// probeBytesMax bounds what is read of an answer.
	probeBytesMax = 4 << 10
)

// verdict is what a probe found.
type verdict struct {
	endpoint *endpoint
	rest     *rest // of the endpoint when the probe began
	err      error
	reached  bool          // a connection was made
	here     bool          // the connection ended on this host
	took     time.Duration // the answer to the last question
	ready    bool          // it has caught up with a quorum
}

// keepProbing asks all endpoints how they are until ctx ends, so that those that rest are brought back without a
// request of a client, and those that are frozen are found out (P17, P18).
func (p *Proxy) keepProbing(ctx context.Context) {
	watches := int64(0) // when memory was given back last
	for {
		wait := p.o.FailureWait
		if !p.list.isAnyWell() {
			wait = min(wait, probeSpacing)
		}
		if !sleep(ctx, min(wait, probeSpacing), nil) || !sleep(ctx, wait-probeSpacing, p.probeNow) {
			return
		}
		p.probeAll(ctx)
		for _, e := range p.list.all() {
			e.expire(time.Now().Add(-idleTimeout))
		}
		if n := p.watches.n.Load(); n > watches+manyWatches || n < watches-manyWatches {
			watches = n
			debug.FreeOSMemory()
		}
	}
}

// probeAll asks all endpoints at once.
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

// judge has endpoints rest or be used again. What all of them lack is not held against any.
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
		case v.err != nil: // nobody answered: it may be this machine that was too busy
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
		p.o.Log.Infof("proxy: the first choice is %s now: it is nearer", p.list.all()[0].url)
	}
	p.moveWatches(unwell)
}

// moveWatches has other endpoints take up the watches of some that were found unwell twice in a row: a single failure
// may be a packet that was lost, and is no reason to cut those that have delivered something. While no other one is
// well they stay: it may be this machine that was cut off.
func (p *Proxy) moveWatches(unwell []*endpoint) {
	if !p.list.isAnyWell() {
		return
	}
	for _, e := range unwell {
		e.letGo()
	}
}

// wakeUp has an endpoint used again, unless it was found unwell after the probe began.
func (p *Proxy) wakeUp(v verdict) {
	e := v.endpoint
	e.unproven.Store(false)
	if v.rest != nil && e.resting.CompareAndSwap(v.rest, nil) {
		p.o.Log.Infof("proxy: marked endpoint %s available", e.url)
	}
}

// probe asks one endpoint for its version, and, if it is one of a member that serves, for its health: that is good once
// the member has caught up with the others, and as long as it is not cut off from them.
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

// ask makes a request over a connection of its own, so that one that was idle says nothing wrong. One that this proxy
// is behind answers 508.
func (p *Proxy) ask(ctx context.Context, v *verdict, path string, into any) (status int, err error) {
	c, err := v.endpoint.dial(ctx)
	v.reached = err == nil || isOwnFault(err) // then the endpoint is not to blame
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
