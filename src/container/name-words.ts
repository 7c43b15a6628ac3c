/** For names that nobody gave: people of computing, storage and photography, and what one may say of them. */
export const ADJECTIVES: readonly string[] = (
  'able admiring agile amazing ardent bold brave bright busy calm careful charming clever cool curious daring ' +
  'determined dreamy eager elated elegant exact faithful fearless fervent focused friendly gallant gentle gifted ' +
  'happy hardy hopeful humble intent jolly keen kind laughing lively loving lucid lucky mellow modest musing nimble ' +
  'noble optimistic patient peaceful pensive playful polite practical precise proud quick quiet quirky relaxed ' +
  'resolute rigorous serene sharp silent sincere steady stoic sunny sweet tender thirsty upbeat vibrant vigilant ' +
  'vigorous warm wise witty wonderful xenial youthful zealous zen'
).split(' ');

export const SURNAMES: readonly string[] = (
  'allen anning atanasoff babbage backus bardeen bartik bell blackburn blackwell boole brattain carson cerf clarke ' +
  'conway cray curie daguerre dijkstra driscoll easley eckert edison einstein engelbart euclid euler faraday feynman ' +
  'floyd franklin galileo gauss goldberg goldstine goodall hamilton hamming hawking hodgkin hoover hopper huffman ' +
  'hypatia jackson jennings johnson kahn kepler kilby knuth lamarr lamport leavitt liskov lovelace mauchly maxwell ' +
  'mccarthy mcnulty meitner mendel moore morse muybridge nash neumann newton niepce nobel noether noyce pascal perlman ' +
  'poulsen ptolemy ramanujan rhodes ride ritchie rubin sammet shannon shockley spence stallman swartz talbot ' +
  'tesla thompson torvalds turing volta wescoff wilkes wing wozniak wu yonath zuse'
).split(' ');
