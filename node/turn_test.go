package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Who has what is being sent already waits, for as long as it comes; but not for one that
// drips.
func TestATransferWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &room{fetch: make(chan struct{}, 1)}
		first, err := r.awaitTurn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		send := func(each uint64) (stop func()) {
			sending, stop := context.WithCancel(ctx)
			go func() {
				for sending.Err() == nil {
					r.fetched.Add(each)
					time.Sleep(time.Second)
				}
			}()
			return stop
		}
		stop := send(100)
		for range 3 {
			if _, err := r.awaitTurn(ctx); !errors.Is(err, errNotYet) {
				t.Fatalf("beside one that makes progress: %v", err)
			}
		}
		stop()
		stop = send(2)
		began := time.Now()
		end, err := r.awaitTurn(ctx)
		if err != nil || time.Since(began) != fetchTurn {
			t.Fatalf("beside one that drips, after %v: %v", time.Since(began), err)
		}
		end()
		stop()
		first()
		began = time.Now()
		if end, err = r.awaitTurn(ctx); err != nil || time.Since(began) != 0 {
			t.Fatalf("alone, after %v: %v", time.Since(began), err)
		}
		cancel()
		if _, err := r.awaitTurn(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		end()
		time.Sleep(time.Minute) // those who sent have ended
	})
}
