package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"canopy/internal/lasting"
)

const (
	// probeSpacing is the least time between two rounds of probes, and the time between them while no endpoint is available.
	probeSpacing = 100 * time.Millisecond
	// probeBytesMax bounds how much of an answer is read.
	probeBytesMax = 4 << 10
)

// verdict is the result of a probe.
type verdict struct {
	endpoint *Endpoint
	outage   *Outage // of the endpoint when the probe began
	err      error
	reached  bool          // a connection was made
	here     bool          // the connection ended on this host
	took     time.Duration // of the last answer
	ready    bool          // it has caught up with a quorum
}

// keepProbing probes all endpoints until ctx ends, so that unavailable ones come back without a request of a client, and
// frozen ones are detected (P17, P18).
func (u *Cluster) keepProbing(ctx context.Context) {
	for {
		wait := u.o.FailureWait
		if !u.list.isAnyAvailable() {
			wait = min(wait, probeSpacing)
		}
		if !sleep(ctx, min(wait, probeSpacing), nil) || !sleep(ctx, wait-probeSpacing, u.probeNow) {
			return
		}
		u.probeAll(ctx)
		u.remind(time.Now())
		for _, e := range u.list.all() {
			e.expire(time.Now().Add(-idleTimeout))
		}
		u.o.Probed()
	}
}

// remind logs each minute which endpoints are still unavailable. setOutage and markAvailable log the beginning and the end.
func (u *Cluster) remind(now time.Time) {
	for _, e := range u.list.all() {
		outage := e.Outage()
		if moment, lasted := e.lasts.Observe(outage != nil, now); moment == lasting.Lasts {
			u.o.Log.Warnf("proxy: endpoint %s is still unavailable, for %v: %s", e.URL, lasted, outage.Reason)
		}
	}
}

// probeAll probes all endpoints at once.
func (u *Cluster) probeAll(ctx context.Context) {
	list := u.list.all()
	verdicts := make([]verdict, len(list))
	var probes sync.WaitGroup
	for n, e := range list {
		probes.Go(func() { verdicts[n] = u.probe(ctx, e) })
	}
	probes.Wait()
	if ctx.Err() == nil {
		u.judge(verdicts)
	}
}

// judge makes endpoints unavailable or available. A fault of all of them does not count against any.
func (u *Cluster) judge(verdicts []verdict) {
	answered, ready := false, false
	for _, v := range verdicts {
		answered = answered || v.err == nil
		ready = ready || v.ready
	}
	var failed []*Endpoint // again
	for _, v := range verdicts {
		found := Outage{Reason: "it is starting, or has no quorum", answers: true}
		switch {
		case v.err != nil && (answered || !v.reached):
			found = Outage{Reason: u.o.inWords(v.err)}
		case v.err != nil: // none answered: this machine may have been too busy
			continue
		case v.ready || !ready:
			u.markAvailable(v)
			continue
		}
		if u.setOutage(v.endpoint, found) {
			u.ProbeSoon()
		} else {
			failed = append(failed, v.endpoint)
		}
	}
	if u.list.arrange() {
		u.o.Log.Infof("proxy: the first choice is now %s, which is nearer", u.list.all()[0].URL)
	}
	u.moveWatches(failed)
}

// moveWatches breaks the watches of endpoints that failed twice in a row, so that others continue them. A single failure may be a lost packet,
// and is no reason to cut watches that have delivered something. While no other endpoint is available they stay: this
// machine may have been cut off.
func (u *Cluster) moveWatches(failed []*Endpoint) {
	if !u.list.isAnyAvailable() {
		return
	}
	for _, e := range failed {
		e.breakWatches()
	}
}

// markAvailable makes an endpoint available again, unless it became unavailable after the probe began.
func (u *Cluster) markAvailable(v verdict) {
	e := v.endpoint
	e.unproven.Store(false)
	if v.outage != nil && e.outage.CompareAndSwap(v.outage, nil) {
		u.o.Log.Infof("proxy: marked endpoint %s available", e.URL)
	}
}

// probe asks one endpoint for its version and, if a member serves there, for its health. A member is healthy once it has
// caught up with the others, and as long as it is connected to them.
func (u *Cluster) probe(ctx context.Context, e *Endpoint) verdict {
	v := verdict{endpoint: e, outage: e.Outage()}
	var version struct{ Etcdcluster string }
	status, err := u.ask(ctx, &v, "/version", &version)
	switch {
	case err != nil:
		v.err = fmt.Errorf("/version: %w", err)
	case status == http.StatusLoopDetected:
		v.err = ErrLeadsBack
	case status != http.StatusOK:
		v.err = fmt.Errorf("/version was answered with status %d", status)
	default:
		e.MarkAnswered()
		e.distance.measure(v.here, v.took, time.Now(), distanceSpan*u.o.FailureWait)
	}
	if v.err != nil || version.Etcdcluster == "not_decided" {
		return v // it is starting, or has never had a leader
	}
	status, err = u.ask(ctx, &v, "/health", nil)
	v.ready = err == nil && status < http.StatusInternalServerError
	return v
}

// textOfTLSPort begins the answer of a server that speaks TLS to a request without TLS.
const textOfTLSPort = "Client sent an HTTP request to an HTTPS server"

// errTLSPort is the fault of an http URL that leads to a port with TLS.
var errTLSPort = errors.New("its URL is http, and its port speaks TLS: the member must advertise an https URL")

// ErrLeadsBack is the fault of an endpoint that forwards requests to this proxy.
var ErrLeadsBack = errors.New("leads back to this proxy")

// HeaderProxies names the proxies that a request has passed (P19).
const HeaderProxies = "X-Canopy-Proxies"

// ask makes a request on a new connection, since the failure of an idle one would prove nothing. A server that leads back to
// this proxy answers 508.
func (u *Cluster) ask(ctx context.Context, v *verdict, path string, into any) (status int, err error) {
	c, err := v.endpoint.Dial(ctx)
	v.reached = err == nil || IsOwnFault(err) // then the endpoint is not at fault
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Interrupt)()
	v.here = u.o.isHere(c)
	c.ExpectBy(time.Second + 2*u.o.Election)
	head := "GET " + path + " HTTP/1.1\r\nHost: " + v.endpoint.address + "\r\nConnection: close\r\n" + HeaderProxies + ": " + u.o.ID + "\r\n\r\n"
	asked := time.Now()
	if _, err := c.Send([]byte(head)); err != nil {
		return 0, err
	}
	answer, err := c.Receive(http.MethodGet)
	v.took = time.Since(asked)
	if err != nil {
		return 0, err
	}
	if answer.StatusCode == http.StatusBadRequest {
		text, err := io.ReadAll(io.LimitReader(answer.Body, probeBytesMax))
		if err == nil && strings.HasPrefix(string(text), textOfTLSPort) {
			return 0, errTLSPort
		}
	}
	if into == nil || answer.StatusCode != http.StatusOK {
		return answer.StatusCode, nil
	}
	return answer.StatusCode, json.NewDecoder(io.LimitReader(answer.Body, probeBytesMax)).Decode(into)
}

// IsOwnFault tells whether a connection failed because of this machine: it lacks descriptors or ports.
func IsOwnFault(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
