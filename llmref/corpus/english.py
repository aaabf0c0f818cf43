"""English stories, part by part: ``[part -> next part]``, then one sentence a line with its weight.

``{hero}`` is a slot: drawn where it is first read, and kept for the rest of the story.
``-`` says nothing and goes on.
"""

STORIES = """
[start]
72 - -> opening
10 - -> fable
10 - -> portrait
8 - -> lesson

[opening -> likes]
20 Once upon a time, a child named {hero} lived in the {home}.
20 Once upon a time, a {trait} child named {hero} lived in the {home}.
16 Long ago, a {trait} child named {hero} lived in the {home}.
14 Once there was a {trait} child named {hero}. The home of {hero} was in the {home}.
12 This is the story of {hero}, who lived in the {home}.
10 Do you know {hero}? {She} lived in the {home}.
8 In a land far away, {hero} lived in the {home}.

[likes -> dream]
26 {hero} liked {food} more than anything.
22 {She} ate {food} every day.
18 The favorite food of {hero} was {food}.
12 {She} always had some {food} in {her} bag.
22 -

[dream -> day]
24 {hero} wanted to be a {dream}.
20 {She} dreamed of becoming a {dream}.
14 Someday {she} wanted to be a {dream}.
12 {hero} hoped to become a great {dream}.
30 -

[day -> scene]
24 One day, {hero} went to the {spot}.
22 One {weather} {time}, {she} walked to the {spot}.
16 On a {weather} {time}, {hero} ran to the {spot}.
9 Rain was falling, but {hero} went to the {spot}.
8 Snow was falling, so {she} put on a coat and went to the {spot}.
7 The wind was strong, but {she} walked to the {spot}.
14 The next {hour}, {hero} visited the {spot} alone.

[scene -> turn]
30 A {kind} {player} and a {sort} {mate} were {game} there.
20 The {kind} {player} was {game} with the {sort} {mate}.
16 On the way, {she} passed a {kind} {player}.
14 Many {kind} animals were {game} there.
20 -

[turn]
50 - -> find
50 - -> meet

[find -> keep]
26 There {she} found a {look} {thing}.
20 Under a tree, {she} saw a {look} {thing}.
18 {She} picked up a {look} {thing} from the ground.
18 A {look} {thing} was lying by the road to the {errand}.
18 Something was hidden there, and {hero} found a {look} {thing}.

[keep -> stir-find]
20 {She} put the {thing} in {her} bag.
18 {hero} wondered who had lost the {thing}.
14 "Whose {thing} is this?" {she} asked.
12 "How wonderful!" {she} said.
14 {She} showed the {thing} to a {mood} {friend}.
10 {hero} looked at the {thing} for a long time.
12 -

[meet -> talk]
26 There {she} met a {mood} {friend}.
22 A {mood} {friend} was sitting under a tree.
20 Soon a {mood} {friend} came along.
18 {She} heard a voice and saw a {mood} {friend}.
14 Behind a rock, {hero} saw a {mood} {friend}.

[talk -> stir-meet]
14 "Hello!" said the {friend}.
14 "Where are you going?" asked the {friend}.
20 "Let us go to the {errand} tomorrow!" said the {friend}.
10 "I am hungry," said the {friend}. {hero} shared some {food}.
12 {She} gave the {friend} some {food}.
8 The {friend} was singing a song.
16 "I am looking for a {look} {thing}," said the {friend}.
6 -

[stir-find -> refer-find]
20 Just then, something happened near the {quarter}.
20 A little later, there was a noise from the {quarter}.
20 Then {hero} saw two {pair} animals.
16 Suddenly, {she} heard a shout.
24 On the way home, {she} saw something funny by the {quarter}.

[stir-meet -> refer-meet]
20 Just then, something happened near the {quarter}.
20 A little later, there was a noise from the {quarter}.
20 Then {hero} saw two {pair} animals.
16 Suddenly, they heard a shout.
24 From there, they saw something funny by the {quarter}.

[ending-find -> supper]
20 {hero} took the {thing} home and smiled.
18 That night, {she} dreamed about the {thing}.
16 In the end, {she} gave the {thing} to {her} mother.
16 {hero} kept the {thing} for a long time.
16 Back in the {home}, {hero} told everyone about the {thing}.
14 {hero} laughed and went home to eat {food}.

[ending-meet -> supper]
22 {hero} and the {friend} became good friends.
18 The {friend} waved, and {hero} went home.
16 That evening, {hero} and the {friend} ate {food} together.
16 {She} promised to meet the {friend} again.
16 Back in the {home}, {hero} thought about the {friend}.
12 "See you again!" said the {friend}.

[supper -> close]
30 At home, mother was preparing {treat} and {dish}.
20 Father had brought {treat} and {dish} for everyone.
20 Tomorrow {she} would go to the {errand}.
30 -

[close -> end]
30 The end.
22 Everyone was happy.
12 What a wonderful day!
36 -

[fable-close -> end]
25 Later, they became friends.
15 Then they went home together.
60 -

[portrait]
40 {hero} lives in the {home}. -> portrait-food
30 {hero} likes {food}. -> portrait-dream
30 {hero} wants to be a {dream}. -> portrait-home

[portrait-food]
40 {She} likes {food}. -> portrait-dream-last
20 {hero} likes {food}. -> portrait-dream-last
20 {hero} eats {food} every day. -> portrait-dream-last
20 - -> portrait-dream-last

[portrait-dream]
40 {She} wants to be a {dream}. -> portrait-home-last
20 {hero} wants to be a {dream}. -> portrait-home-last
20 Someday {she} will be a {dream}. -> portrait-home-last
20 - -> portrait-home-last

[portrait-home]
40 {She} lives in the {home}. -> portrait-food-last
20 {hero} lives in the {home}. -> portrait-food-last
20 The home of {hero} is in the {home}. -> portrait-food-last
20 - -> portrait-food-last

[portrait-food-last -> end]
60 {hero} likes {food}.
40 The favorite food of {hero} is {food}.

[portrait-dream-last -> end]
60 {hero} wants to be a {dream}.
40 Someday {she} will be a {dream}.

[portrait-home-last -> end]
60 {hero} lives in the {home}.
40 The home of {hero} is in the {home}.

[lesson]
40 Let us learn some words. -> lesson-animal
30 Here are some Korean words. -> lesson-animal
30 - -> lesson-animal

[lesson-animal -> lesson-food]
50 In Korean, {friend} is {friend:ko}.
50 The Korean word for {friend} is {friend:ko}.

[lesson-food -> lesson-thing]
40 In Korean, {treat} is {treat:ko}.
30 The Korean word for {treat} is {treat:ko}.
30 -

[lesson-thing -> lesson-place]
40 In Korean, {thing} is {thing:ko}.
30 The Korean word for {thing} is {thing:ko}.
30 -

[lesson-place]
20 In Korean, {place} is {place:ko}. -> end
20 The Korean word for {place} is {place:ko}. -> end
20 In Korean, {spot} is {spot:ko}. -> end
20 The Korean name for {hero} is {hero:ko}. -> end
20 The Korean word for {job} is {job:ko}. -> end
"""
