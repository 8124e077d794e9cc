// Package authority is the rule that says who belongs to a group, with what rank,
// and which acts count: a pure function of the group's control events. It knows
// positions in a graph and ranks; no keys, signatures, clocks or hashes. Chapter 9
// of docs/spec/p2pchat-1.md states the same rule for a second implementation.
//
// # The rule
//
// past(e) is what e cites, directly or not. r(e) is the rank of the grant that e
// acts under. An event enters the graph if it is statically valid, which depends on
// its past alone and is final ([Graph.Add]). Then ([Eval]):
//
//	Eval(S):                          # Den, Unb, Lv start empty
//	  for r in ranks, ascending:
//	    for e with r(e) = r, in topological order:
//	      eff(e) = eff(auth(e)) ∧ stands(auth(e), e)
//	      if eff(e) and e is a leave: add to Lv
//	    then add this rank's effective denials and unbans to Den, Unb
//
//	stands(g, e):                     # e = nil asks: is the grant live now?
//	  ∀ D ∈ Den on g.target with r(D) < g.rank:
//	    D ∈ past(g):  D is a remove ∨ r(g) ≤ r(D) ∨ ∃ U ∈ Unb: D ∈ past(U), U ∈ past(g), r(U) ≤ r(D)
//	    else:         e ≠ nil ∧ e is at or before D.cut[e.dev] on that chain
//	  ∀ L ∈ Lv of the same identity, r(L) ≤ g.rank, L ∉ past(g):
//	    e ≠ nil ∧ L ∉ past(e)
//
//	rank(T) = min{ g.rank : g an effective grant to T, stands(g, nil) }
//
// In words: a removal beats everything concurrent by the removed; adding again needs
// having seen the removal; lifting a ban needs a rank at least as senior as the
// ban's; equals cannot touch each other; a leave has no cut.
//
// A device.revoke is signed by the identity's root. It counts before rank 0: what
// its device did behind the cut does not count, unless an effective denial of rank
// Admin or more senior bears on the act, whose cut then decides instead.
//
// # Why it converges
//
// Whether an event counts depends on more senior ranks and on its own past only, so
// there is nothing to go in circles, and nothing that the order of arrival changes.
//
// # What it costs
//
// Each event's past is kept as a set of positions that shares its structure with
// those of the events it cites ([Past]): some 300 bytes an event, and questions
// about the past take no walk. An event that arrives is judged by itself; only a
// denial that undoes something evaluates the graph anew ([State.Extend]).
//
// # How it is tested
//
// protocol/testdata/scenarios tells what has to follow in a hundred cases, in words.
// internal/sim states the rule a second time, without any of the shortcuts here, and
// compares the two in random worlds; docs/results/authority.txt has the last long run
// (make sim). internal/authority-mutants breaks the rule in many ways, each of which a
// test has to notice (make mutants).
package authority
