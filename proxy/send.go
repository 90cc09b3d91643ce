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
	unbind   func() bool // ends the hold that the context has on the connection
}

// An upload is the sending of a large body, beside the reading of its answer.
type upload struct {
	body  *body
	done  chan struct{} // closed at its end
	whole bool          // all of it was sent; valid after done
}

// noEndpointError says that nobody answered a request.
type noEndpointError struct {
	tried   int
	unknown bool // the request may have been done all the same
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

// try is how one attempt at an endpoint ended.
type try int

// The ends of a try that brought no answer.
const (
	unsent try = iota // nothing of the request went out
	lost              // it went out, and no answer came
)

// send gives a request to one endpoint after the other until one answers. Each that was tried is noted in the request,
// so that sending it again goes on where this left off. The error is that of ctx or of the client's body, or a
// *noEndpointError.
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
		case ctx.Err() != nil && (q.body == nil || !q.body.forgot): // else the end of an upload has ended ctx, perhaps
			return nil, ctx.Err()
		}
		p.metrics.dropped(q.method, how)
		if how == lost && !q.repeatable() {
			wake(p.probeNow)
			p.o.Log.Warnf("proxy: %s may or may not have done a %s: %v", e.url, q.method, err)
			return nil, &noEndpointError{tried: max(1, len(q.tried)), unknown: true}
		}
		if q.body != nil && q.body.forgot {
			return nil, &noEndpointError{tried: max(1, len(q.tried)), unknown: how == lost}
		}
	}
}

// choose gives the endpoint for a request, and an idle connection to it if there is one that is good.
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
		wake(p.probeNow) // and look again: another one is the first choice now
	}
}

// sendTo gives a request to an endpoint, over a connection that was idle, or else over a fresh one. An idle one that
// turns out to be dead says nothing of the endpoint: it is not noted as tried.
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

// isOwnFault tells whether a connection could not be made for want of something here: descriptors, or ports.
func isOwnFault(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// over sends a request over a connection, and reads the head of the answer. Without one the connection is closed.
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
	if x.answer.Close && !(q.watch && isChunked(x.answer)) { // a stream takes its connection with it
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
			x.Close() // half a body must not wait at the member for the rest
		}
	}()
}

// release lets go of the context, and of all that hangs on it.
func (x *exchange) release() (untouched bool) {
	untouched = x.unbind()
	x.unbind = nil
	return untouched
}

// abort gives up the connection, and waits until nothing uses it any more.
func (x *exchange) abort(w http.ResponseWriter) {
	x.release()
	x.Close()
	x.endUpload(w)
}

// endUpload waits for the end of an upload on a connection that is closed. If it still reads from the client, it is made
// to fail.
func (x *exchange) endUpload(w http.ResponseWriter) {
	if x.upload == nil || x.upload.ended() {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	<-x.upload.done
	if failure := x.upload.body.failure; failure != nil && errors.Is(failure, os.ErrDeadlineExceeded) { // it is not the client who failed
		x.upload.body.failure = nil
		x.upload.body.forget()
	}
}

// ended tells whether the upload is over.
func (u *upload) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// done ends an exchange whose answer was read to its end: the connection can be used again, unless something is left
// on it.
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

// judgeSilent has those endpoints rest that did not answer what another one did (P17).
func (p *Proxy) judgeSilent(q *request, answered *endpoint) {
	for _, e := range q.silent {
		if e != answered {
			p.rest(e, "no response to a request that "+answered.url+" answered")
		}
	}
	q.silent = nil
}

// rest leaves an endpoint out until a probe finds it well.
func (p *Proxy) rest(e *endpoint, reason string) { p.restAs(e, rest{reason: reason}) }

// restAs is rest, for endpoints that may be the last choice, too. It tells whether the endpoint was well before.
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
		return false // if it was changed meanwhile, a probe puts it right
	}
	p.o.Log.Warnf("proxy: marked endpoint %s unavailable: %s", e.url, r.reason)
	e.drop()
	wake(p.refreshNow)
	return true
}

// noteLeaving makes an endpoint the second choice for a while. A member that answers that it closes the connection is
// about to stop; one that closes it because it did not understand the request is not.
func (p *Proxy) noteLeaving(e *endpoint, answer *http.Response) {
	if answer.StatusCode < http.StatusBadRequest || answer.StatusCode == http.StatusNotFound {
		e.leaving.Store(p.o.now() + int64(p.o.FailureWait))
	}
}

// another tells whether there is an endpoint that could do what this one declined.
func (p *Proxy) another(q *request) bool {
	return (q.body == nil || !q.body.forgot) && p.list.next(q.tried) != nil
}
