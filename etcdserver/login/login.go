// Package login finds out whether a password is right, at a price that neither a member nor its other clients feel.
//
// bcrypt takes tens of milliseconds of a processor for each password, on purpose. So what was right once is remembered,
// as a keyed hash that means nothing outside of this process; equal passwords that arrive together are checked once; and
// only few are checked at a time, away from the loops of the member (A56, A57). Those who have failed before wait for
// each other, so that guessing takes no time from those who have not.
//
//	user, password ──▶ remembered? ──▶ right
//	                       │ no
//	                       ▼
//	            place (few; fewer for those who failed) ──▶ bcrypt ──▶ right, and remembered; or wrong, and counted
package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/singleflight"

	"canopy/etcdserver/auth"
)

// Errors of passwords.
var (
	// ErrTooLong: bcrypt would ignore what is behind that many bytes (A55).
	ErrTooLong = errors.New("auth: Password is longer than 72 bytes")
	// ErrBusy: too many checks wait.
	ErrBusy = errors.New("auth: too many password checks")
)

// Cost is the work of a hash, as a power of two.
const (
	CostMin     = bcrypt.MinCost
	CostMax     = bcrypt.MaxCost
	CostDefault = 10

	passwordMax = 72 // bytes
)

const (
	rememberedMax = 64 << 10 // passwords
	waitingMax    = 1024     // checks that wait for a place
	suspectsMax   = 128      // of them, by those who have failed before
)

// Checker checks passwords. Any goroutine may call its methods.
type Checker struct {
	o       Options
	key     [32]byte               // of the hashes in remembered
	unknown func() ([]byte, error) // hash to compare with if there is no such user (A54); made once

	flights  singleflight.Group
	places   places
	failures failures

	mu         sync.RWMutex // guards remembered, for a few instructions
	remembered map[digest]struct{}
}

// digest stands for a user, the hash of the user's password, and a password that is right.
type digest [sha256.Size]byte

// Options are the settings of a Checker.
type Options struct {
	Cost    int              // of passwords that are set, CostMin to CostMax
	Waits   func(more int)   // called when so many more checks wait for their turn; nil: none
	Checked func(right bool) // called after each slow check; nil: none
}

// New makes a checker.
func New(o Options) *Checker {
	if o.Waits == nil {
		o.Waits = func(int) {}
	}
	if o.Checked == nil {
		o.Checked = func(bool) {}
	}
	c := &Checker{o: o, remembered: map[digest]struct{}{}, places: newPlaces(max(1, runtime.GOMAXPROCS(0)/4), o.Waits)}
	_, _ = rand.Read(c.key[:]) // never fails
	c.unknown = sync.OnceValues(func() ([]byte, error) { return bcrypt.GenerateFromPassword(c.key[:], o.Cost) })
	return c
}

// Hash makes the hash of a new password. Errors are ErrTooLong, ErrBusy, and that of ctx.
func (c *Checker) Hash(ctx context.Context, password string) ([]byte, error) {
	if len(password) > passwordMax {
		return nil, ErrTooLong
	}
	leave, err := c.places.enter(ctx, false)
	if err != nil {
		return nil, err
	}
	defer leave()
	return bcrypt.GenerateFromPassword([]byte(password), c.o.Cost)
}

// Right tells whether a password is that of a user; from is where the request comes from. It takes as long if there is no
// such user. Errors are ErrBusy, and that of ctx.
func (c *Checker) Right(ctx context.Context, s *auth.State, user, password, from string) (bool, error) {
	u := s.User(user)
	if u == nil {
		return false, c.compareUnknown(ctx, user, password, from)
	}
	d := c.digest(u, password)
	if c.recalls(d) {
		return true, nil
	}
	flight := c.flights.DoChan(string(d[:]), func() (any, error) {
		// The context of one request does not end the check for the others.
		return c.compare(context.WithoutCancel(ctx), u, password, from)
	})
	select {
	case result := <-flight:
		right, _ := result.Val.(bool)
		if right {
			c.remember(d)
		}
		return right, result.Err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (c *Checker) compare(ctx context.Context, u *auth.User, password, from string) (bool, error) {
	leave, err := c.place(ctx, u.Name, from)
	if err != nil {
		return false, err
	}
	defer leave()
	right := bcrypt.CompareHashAndPassword(u.Hash, []byte(password)) == nil
	c.o.Checked(right)
	if !right {
		c.failures.add(u.Name, from)
	}
	return right, nil
}

// compareUnknown takes the time of a check.
func (c *Checker) compareUnknown(ctx context.Context, user, password, from string) error {
	leave, err := c.place(ctx, user, from)
	if err != nil {
		return err
	}
	defer leave()
	hash, err := c.unknown()
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	_ = bcrypt.CompareHashAndPassword(hash, []byte(password)) // wrong in any case
	c.o.Checked(false)
	c.failures.add(user, from)
	return nil
}

// place waits for a place to check a password. Who becomes a suspect while waiting waits on with the suspects: so a burst of
// wrong passwords is slowed, too, and not only what follows it.
func (c *Checker) place(ctx context.Context, user, from string) (leave func(), err error) {
	suspect := c.failures.suspects(user, from)
	for {
		if leave, err = c.places.enter(ctx, suspect); err != nil || suspect {
			return leave, err
		}
		if suspect = c.failures.suspects(user, from); !suspect {
			return leave, nil
		}
		leave()
	}
}

// digest depends on the hash of the user's password, so a changed password forgets the old one.
func (c *Checker) digest(u *auth.User, password string) digest {
	var room [512]byte
	b := append(room[:0], c.key[:]...)
	for _, part := range [...]string{u.Name, string(u.Hash), password} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

func (c *Checker) recalls(d digest) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, known := c.remembered[d]
	return known
}

// remember forgets any other one if there are too many.
func (c *Checker) remember(d digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.remembered {
		if len(c.remembered) < rememberedMax {
			break
		}
		delete(c.remembered, other)
	}
	c.remembered[d] = struct{}{}
}

// Waiting is how many checks wait for a place.
func (c *Checker) Waiting() int { return int(c.places.waiting.Load()) }
