package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"canopy/etcdserver/auth"
)

func newChecker(t testing.TB) *Checker {
	t.Helper()
	return New(Options{Cost: CostMin})
}

// withUser is a state with one user more.
func withUser(t testing.TB, c *Checker, s *auth.State, name, password string) *auth.State {
	t.Helper()
	hash, err := c.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err = s.Apply(auth.PutUser{Name: name, Hash: hash}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func right(t testing.TB, c *Checker, s *auth.State, user, password string) bool {
	t.Helper()
	ok, err := c.Right(t.Context(), s, user, password, "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// A right password is remembered, and forgotten when it changes (A57).
func TestPasswords(t *testing.T) {
	c := newChecker(t)
	old := withUser(t, c, &auth.State{}, "bob", "secret")
	for range 3 {
		if !right(t, c, old, "bob", "secret") {
			t.Error("the right password is wrong")
		}
		for _, wrong := range []string{"", "secre", "secret2", "Secret"} {
			if right(t, c, old, "bob", wrong) {
				t.Errorf("%q is right", wrong)
			}
		}
	}
	if right(t, c, old, "nobody", "secret") || right(t, c, old, "", "secret") || right(t, c, old, "../bob", "secret") {
		t.Error("somebody who is no user has a right password")
	}
	now := withUser(t, c, old, "bob", "changed")
	if right(t, c, now, "bob", "secret") || !right(t, c, now, "bob", "changed") {
		t.Error("the old password is right after a change, or the new one is not")
	}
	gone, _, err := now.Apply(auth.DeleteUser{Name: "bob"}, 1)
	if err != nil || right(t, c, gone, "bob", "changed") {
		t.Errorf("the password of a user who was deleted is right: %v", err)
	}
}

// More than 72 bytes are refused where a password is set; hashes of longer ones by the reference are checked as it does (A55).
func TestLongPasswords(t *testing.T) {
	c := newChecker(t)
	long := strings.Repeat("x", 72)
	if _, err := c.Hash(t.Context(), long+"y"); !errors.Is(err, ErrTooLong) {
		t.Errorf("a password of 73 bytes: %v", err)
	}
	s := withUser(t, c, &auth.State{}, "bob", long)
	if !right(t, c, s, "bob", long) || !right(t, c, s, "bob", long+"tail") || right(t, c, s, "bob", long[:71]) {
		t.Error("only the first 72 bytes count")
	}
}

// Requests with the same password that arrive together share one check.
func TestEqualRequestsShareACheck(t *testing.T) {
	c := newChecker(t)
	s := withUser(t, c, &auth.State{}, "bob", "secret")
	for range cap(c.places.running) { // nobody gets a place yet
		c.places.running <- struct{}{}
	}
	var clients sync.WaitGroup
	var wrong atomic.Int64
	for range 100 {
		clients.Go(func() {
			if ok, err := c.Right(context.Background(), s, "bob", "secret", "10.0.0.1"); !ok || err != nil {
				wrong.Add(1)
			}
		})
	}
	for c.Waiting() == 0 {
	}
	if c.Waiting() != 1 {
		t.Errorf("%d checks wait, want 1", c.Waiting())
	}
	for range cap(c.places.running) {
		<-c.places.running
	}
	clients.Wait()
	if wrong.Load() != 0 {
		t.Errorf("%d of 100 were refused", wrong.Load())
	}
}

// Those who fail wait for each other and are refused when they are too many; a user who has not failed gets a place.
func TestSuspectsTakeNoPlaceOfOthers(t *testing.T) {
	c := newChecker(t)
	s := withUser(t, c, &auth.State{}, "bob", "secret")
	for n := range failuresMax {
		if right(t, c, s, fmt.Sprint("guess", n), "x") {
			t.Fatal("a guess is right")
		}
	}
	c.places.suspect <- struct{}{} // one of them is at work
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var busy atomic.Int64
	for n := range 2 * suspectsMax {
		clients.Go(func() {
			if _, err := c.Right(ctx, s, fmt.Sprint("more", n), "x", "10.0.0.1"); errors.Is(err, ErrBusy) {
				busy.Add(1)
			}
		})
	}
	for busy.Load() < suspectsMax {
	}
	if ok, err := c.Right(t.Context(), s, "bob", "secret", "10.0.0.2"); !ok || err != nil {
		t.Errorf("a user from elsewhere: %v, %v", ok, err)
	}
	cancel()
	clients.Wait()
	if busy.Load() != suspectsMax {
		t.Errorf("%d suspects were refused, want %d", busy.Load(), suspectsMax)
	}
	<-c.places.suspect
}

// Of many wrong passwords that arrive at once, those behind the first few wait with the suspects.
func TestABurstOfGuessesIsSlowed(t *testing.T) {
	c := newChecker(t)
	s := withUser(t, c, &auth.State{}, "bob", "secret")
	for range cap(c.places.running) { // nobody gets a place yet
		c.places.running <- struct{}{}
	}
	c.places.suspect <- struct{}{} // nor does a suspect
	const guesses = 100
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var checked atomic.Int64
	for n := range guesses {
		clients.Go(func() {
			if _, err := c.Right(ctx, s, fmt.Sprint("guess", n), "x", "10.0.0.1"); err == nil {
				checked.Add(1)
			}
		})
	}
	for c.Waiting() < guesses {
	}
	for range cap(c.places.running) {
		<-c.places.running
	}
	for checked.Load()+c.places.suspects.Load() < guesses {
	}
	if most := int64(failuresMax + cap(c.places.running)); checked.Load() > most {
		t.Errorf("%d of %d guesses were checked, want at most %d", checked.Load(), guesses, most)
	}
	cancel()
	clients.Wait()
	<-c.places.suspect
}

// What is remembered is bounded, and holds no password.
func TestRememberedIsBounded(t *testing.T) {
	c := newChecker(t)
	for n := range rememberedMax + 100 {
		c.remember(digest{byte(n), byte(n >> 8), byte(n >> 16)})
	}
	if len(c.remembered) > rememberedMax {
		t.Errorf("%d passwords are remembered, want at most %d", len(c.remembered), rememberedMax)
	}
	for n := range 2 * failuresKept {
		c.failures.add(fmt.Sprint(n), "a")
	}
	if len(c.failures.by) > failuresKept+2 {
		t.Errorf("%d failures are kept", len(c.failures.by))
	}
}

// Hashes have the form that others write and read.
func TestHashesAreCompatible(t *testing.T) {
	c := newChecker(t)
	hash, err := c.Hash(t.Context(), "secret")
	if err != nil || !strings.HasPrefix(string(hash), "$2a$04$") || bcrypt.CompareHashAndPassword(hash, []byte("secret")) != nil {
		t.Errorf("a hash is %s, %v", hash, err)
	}
}

func BenchmarkRemembered(b *testing.B) {
	c := newChecker(b)
	s := withUser(b, c, &auth.State{}, "bob", "secret")
	for b.Loop() {
		if !right(b, c, s, "bob", "secret") {
			b.Fatal("wrong")
		}
	}
}
