package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"
)

// An exchange is a request that a member has begun to answer.
type exchange struct {
	*conn
	endpoint *endpoint
	answer   *http.Response
	upload   *upload
	unbind   func() bool // ends the effect of the context on the connection
}

// An upload sends a large body while its answer is read.
type upload struct {
	body  *body
	done  chan struct{} // closed at its end
	whole bool          // all of it was sent; valid after done
}

// noEndpointError tells that no endpoint answered a request.
type noEndpointError struct {
	tried   int
	unknown bool // the request may have been carried out
}

// Error is the text of P34.
func (e *noEndpointError) Error() string {
	switch {
	case e.tried == 0:
		return "proxy: zero endpoints currently available"
	case e.unknown:
		return fmt.Sprintf("proxy: unable to get response from %d endpoint(s); the outcome is unknown, the request may have been done", e.tried)
	}
	return fmt.Sprintf("proxy: unable to get response from %d endpoint(s)", e.tried)
}

// try is the outcome of one attempt at an endpoint.
type try int

// The outcomes of a try without an answer.
const (
	unsent try = iota // no byte of the request was sent
	lost              // it was sent, and no answer came
)

// send tries one endpoint after the other until one answers. It records them in the request, so that sending it again
// continues from there. The error is that of ctx or of the client's body, or a *noEndpointError.
func (p *Proxy) send(ctx context.Context, w http.ResponseWriter, q *request) (*exchange, error) {
	for {
		e, c := p.choose(q)
		if e == nil {
			return nil, &noEndpointError{tried: len(q.tried)}
		}
		x, how, err := p.sendTo(ctx, w, q, e, c)
		switch {
		case err == nil:
			p.judgeSilent(q, e)
			return x, nil
		case q.body != nil && q.body.failure != nil:
			q.body.failure.cut = q.body.failure.cut || ctx.Err() != nil
			return nil, q.body.failure
		case ctx.Err() != nil && (q.body == nil || !q.body.forgot): // else the end of an upload may have ended ctx
			return nil, ctx.Err()
		}
		p.metrics.dropped(q.method, how)
		if how == lost && !q.repeatable() {
			wake(p.probeNow)
			p.o.Log.Warnf("proxy: %s may have carried out a %s, or not: %v", e.url, q.method, err)
			return nil, &noEndpointError{tried: max(1, len(q.tried)), unknown: true}
		}
		if q.body != nil && q.body.forgot {
			return nil, &noEndpointError{tried: max(1, len(q.tried)), unknown: how == lost}
		}
	}
}

// choose gives the endpoint for a request, and a usable idle connection to it if there is one.
func (p *Proxy) choose(q *request) (*endpoint, *conn) {
	for {
		e := p.list.next(q.tried)
		if e == nil || q.fresh {
			return e, nil
		}
		known := e.unproven.Load()
		c := e.take()
		if c != nil || known || !e.unproven.Load() {
			return e, c
		}
		wake(p.probeNow) // probe again: the first choice has changed
	}
}

// sendTo sends a request to an endpoint, on an idle connection or else on a fresh one. A dead idle connection says nothing
// about the endpoint, so it does not count as tried.
func (p *Proxy) sendTo(ctx context.Context, w http.ResponseWriter, q *request, e *endpoint, c *conn) (*exchange, try, error) {
	reused := c != nil
	if !reused {
		q.tried = append(q.tried, e)
		var err error
		if c, err = e.dial(ctx); err != nil {
			if ctx.Err() == nil && !isOwnFault(err) {
				p.rest(e, err.Error())
			}
			return nil, unsent, err
		}
	}
	x, how, err := p.over(ctx, w, q, e, c)
	frozen := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil || ctx.Err() != nil:
	case !reused || frozen:
		q.silent = append(q.silent, e)
	default:
		q.fresh = true
		e.unproven.Store(true)
		e.drop() // the others are as old
		wake(p.probeNow)
	}
	if err != nil && reused && (frozen || how == lost && !q.repeatable()) {
		q.tried = append(q.tried, e)
	}
	return x, how, err
}

// isOwnFault tells whether a connection failed because of this machine: it lacks descriptors or ports.
func isOwnFault(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// over sends a request on a connection, and reads the head of the answer. Without an answer it closes the connection.
func (p *Proxy) over(ctx context.Context, w http.ResponseWriter, q *request, e *endpoint, c *conn) (*exchange, try, error) {
	x := &exchange{conn: c, endpoint: e}
	if q.watch {
		e.hold(c)
	}
	x.unbind = context.AfterFunc(ctx, c.interrupt)
	patience := p.answerTime(q)
	if q.body != nil {
		patience += p.o.BodyTimeout
	}
	c.expectBy(patience)
	sent, err := c.send(q.head)
	if err == nil {
		if q.body != nil {
			x.startUpload(p, q.body)
		}
		x.answer, err = c.receive(q.method)
	}
	if err != nil {
		x.abort(w)
		if sent {
			return nil, lost, err
		}
		return nil, unsent, err
	}
	e.answered.Store(p.o.now())
	if x.answer.Close && !(q.watch && isChunked(x.answer)) { // a stream does not give its connection back
		p.noteLeaving(e, x.answer)
	}
	return x, 0, nil
}

// startUpload sends a large body while the answer is awaited: a member may refuse before it has read everything.
func (x *exchange) startUpload(p *Proxy, b *body) {
	x.upload = &upload{body: b, done: make(chan struct{})}
	go func() { // endUpload waits for it
		defer close(x.upload.done)
		buffer := p.buffer()
		defer p.release(buffer)
		err := b.sendTo(x.conn, *buffer)
		x.upload.whole = err == nil
		if b.failure != nil {
			x.Close() // the member must not wait for the rest of half a body
		}
	}()
}

// release ends the effect of the context, and everything that depends on it.
func (x *exchange) release() (untouched bool) {
	untouched = x.unbind()
	x.unbind = nil
	return untouched
}

// abort closes the connection, and waits until nothing uses it any more.
func (x *exchange) abort(w http.ResponseWriter) {
	x.release()
	x.Close()
	x.endUpload(w)
}

// endUpload waits for the end of an upload on a closed connection. If the upload still reads from the client, that read is
// made to fail.
func (x *exchange) endUpload(w http.ResponseWriter) {
	if x.upload == nil || x.upload.ended() {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	<-x.upload.done
	if failure := x.upload.body.failure; failure != nil && errors.Is(failure, os.ErrDeadlineExceeded) { // the client did not fail
		x.upload.body.failure = nil
		x.upload.body.forget()
	}
}

// ended tells whether the upload has ended.
func (u *upload) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// done ends an exchange whose answer was read to its end. The connection can be used again, unless there is more input.
func (x *exchange) done(w http.ResponseWriter) {
	if x.heldBy != nil {
		x.endpoint.unhold(x.conn)
	}
	clean := x.release() && !x.interrupted.Load() && !x.answer.Close && (x.in == nil || x.in.Buffered() == 0)
	if x.upload != nil {
		clean = clean && x.upload.ended() && x.upload.whole
	}
	if clean {
		x.endpoint.give(x.conn)
		return
	}
	x.Close()
	x.endUpload(w)
}

// judgeSilent makes endpoints unavailable that did not answer what another one did (P17).
func (p *Proxy) judgeSilent(q *request, answered *endpoint) {
	for _, e := range q.silent {
		if e != answered {
			p.rest(e, "no response to a request that "+answered.url+" answered")
		}
	}
	q.silent = nil
}

// rest makes an endpoint unavailable until a probe succeeds.
func (p *Proxy) rest(e *endpoint, reason string) { p.restAs(e, rest{reason: reason}) }

// restAs is rest, also for endpoints that remain the last choice. It tells whether the endpoint was available before.
func (p *Proxy) restAs(e *endpoint, r rest) bool {
	before := e.resting.Load()
	if before != nil && before.answers == r.answers {
		return false
	}
	r.since = time.Now()
	if before != nil {
		r.since = before.since
	}
	if !e.resting.CompareAndSwap(before, &r) || before != nil {
		return false // if it has changed meanwhile, a probe corrects it
	}
	p.o.Log.Warnf("proxy: marked endpoint %s unavailable: %s", e.url, r.reason)
	e.drop()
	wake(p.refreshNow)
	return true
}

// noteLeaving makes an endpoint a second choice for a while. A member whose answer closes the connection is about to stop,
// unless it closes because it did not understand the request.
func (p *Proxy) noteLeaving(e *endpoint, answer *http.Response) {
	if answer.StatusCode < http.StatusBadRequest || answer.StatusCode == http.StatusNotFound {
		e.leaving.Store(p.o.now() + int64(p.o.FailureWait))
	}
}

// another tells whether another endpoint could answer what this one declined.
func (p *Proxy) another(q *request) bool {
	return (q.body == nil || !q.body.forgot) && p.list.next(q.tried) != nil
}
