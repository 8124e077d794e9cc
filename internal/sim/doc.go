// Package sim is test support for the authority rule: worlds from dice or from
// stories, a second implementation of the rule to compare with ([Oracle]), and what
// must hold in every world ([Check]).
//
// Everything is a function of a seed, so that what fails can be run again.
package sim
