"""Korean stories, part by part: ``[part -> next part]``, then one sentence a line with its weight.

``{hero:는}`` is a slot with its particle: drawn where it is first read, and kept for the rest of the story.
``-`` says nothing and goes on.
"""

STORIES = """
[start]
72 - -> opening
10 - -> fable
10 - -> portrait
8 - -> lesson

[opening -> likes]
26 옛날에 {hero:라는} 아이가 {home:에} 살았습니다.
20 옛날에 {hero:라는} {trait} 아이가 {home:에} 살았습니다.
16 옛날 옛적에 {hero:라는} {trait} 아이가 {home:에} 살고 있었습니다.
10 아주 먼 옛날, {hero:라는} {trait} 아이가 {home:에} 살았습니다.
10 먼 나라에 {hero:라는} 아이가 있었습니다. 아이의 집은 {home:에} 있었습니다.
9 이것은 {trait} {hero:의} 이야기입니다. {hero:는} {home:에} 살았습니다.
9 {hero:를} 아시나요? {hero:는} {home:에} 살고 있었습니다.

[likes -> dream]
26 {hero:는} {food:를} 무척 좋아했습니다.
20 {hero:가} 가장 좋아하는 음식은 {food:였습니다}.
18 아이는 날마다 {food:를} 먹었습니다.
14 {hero:의} 가방에는 언제나 {food:가} 들어 있었습니다.
22 -

[dream -> day]
26 {hero:의} 꿈은 {dream:가} 되는 것이었습니다.
22 {hero:는} 커서 {dream:가} 되고 싶었습니다.
12 아이는 멋진 {dream:가} 되는 꿈을 꾸었습니다.
10 언젠가는 꼭 {dream:가} 되고 싶었습니다.
30 -

[day -> scene]
24 어느 날 {hero:는} {spot:로} 갔습니다.
22 어느 {weather} {time}, {hero:는} {spot:로} 산책을 갔습니다.
16 {weather} {time:였습니다}. {hero:는} {spot:로} 달려갔습니다.
9 비가 내렸지만 {hero:는} {spot:로} 갔습니다.
8 눈이 내려서 {hero:는} 두꺼운 옷을 입고 {spot:로} 갔습니다.
7 바람이 세게 불었지만 아이는 {spot:로} 걸어갔습니다.
14 다음 날 {hour}, {hero:는} 혼자 {spot:로} 갔습니다.

[scene -> turn]
30 거기에는 {kind} {player:와} {sort} {mate:가} {game} 있었습니다.
20 {kind} {player:가} {sort} {mate:와} 함께 {game} 있었습니다.
16 가는 길에 {kind} {player:를} 지나쳤습니다.
14 많은 {kind} 동물들이 {game} 있었습니다.
20 -

[turn]
50 - -> find
50 - -> meet

[find -> keep]
26 {hero:는} 거기에서 {look} {thing:를} 찾았습니다.
20 나무 아래에서 {look} {thing:를} 보았습니다.
18 {hero:는} 땅에서 {look} {thing:를} 주웠습니다.
18 {errand:로} 가는 길에 {look} {thing:가} 떨어져 있었습니다.
18 무언가가 숨겨져 있었는데, 바로 {look} {thing:였습니다}.

[keep -> stir-find]
20 {hero:는} {thing:를} 가방에 넣었습니다.
18 누가 {thing:를} 잃어버렸는지 궁금했습니다.
14 "이 {thing:는} 누구의 것일까?" 하고 {hero:가} 말했습니다.
12 "정말 멋지다!" 하고 {hero:가} 외쳤습니다.
14 아이는 {mood} {friend:에게} {thing:를} 보여 주었습니다.
10 아이는 {thing:를} 오랫동안 바라보았습니다.
12 -

[meet -> talk]
26 거기에서 {mood} {friend:를} 만났습니다.
22 나무 아래에 {mood} {friend:가} 앉아 있었습니다.
20 그때 {mood} {friend:가} 다가왔습니다.
18 목소리가 들려서 돌아보니 {mood} {friend:가} 있었습니다.
14 바위 뒤에서 {mood} {friend:가} 나타났습니다.

[talk -> stir-meet]
14 "안녕?" 하고 {friend:가} 인사했습니다.
14 "어디에 가니?" 하고 {friend:가} 물었습니다.
20 "내일 같이 {errand:로} 가자!" 하고 {friend:가} 말했습니다.
10 "나는 배가 고파." 하고 {friend:가} 말했습니다. {hero:는} {food:를} 나누어 주었습니다.
12 {hero:는} {friend:에게} {food:를} 주었습니다.
8 {friend:는} 노래를 부르고 있었습니다.
16 "{look} {thing:를} 찾고 있어." 하고 {friend:가} 말했습니다.
6 -

[stir-find -> refer-find]
20 바로 그때 {quarter} 쪽에서 어떤 일이 일어났습니다.
20 잠시 뒤에 {quarter} 근처에서 큰 소리가 났습니다.
20 그리고 {hero:는} {pair} 동물 둘을 보았습니다.
16 갑자기 누가 소리를 질렀습니다.
24 집에 오는 길에 {quarter} 옆에서 재미있는 일이 있었습니다.

[stir-meet -> refer-meet]
20 바로 그때 {quarter} 쪽에서 어떤 일이 일어났습니다.
20 잠시 뒤에 {quarter} 근처에서 큰 소리가 났습니다.
20 그리고 {hero:는} {pair} 동물 둘을 보았습니다.
16 갑자기 누가 소리를 질렀습니다.
24 둘은 {quarter} 옆에서 재미있는 일을 보았습니다.

[ending-find -> supper]
20 {hero:는} {thing:를} 들고 웃으며 집으로 갔습니다.
18 그날 밤 아이는 {thing:가} 나오는 꿈을 꾸었습니다.
16 마침내 아이는 어머니에게 {thing:를} 드렸습니다.
16 {hero:는} {thing:를} 오랫동안 간직했습니다.
16 {home:로} 돌아온 {hero:는} 모두에게 {thing} 이야기를 해 주었습니다.
14 {hero:는} 집에 돌아와 {food:를} 먹었습니다.

[ending-meet -> supper]
22 {hero:와} {friend:는} 좋은 친구가 되었습니다.
18 {friend:가} 손을 흔들었고 {hero:는} 집으로 갔습니다.
16 그날 저녁 {hero:와} {friend:는} 함께 {food:를} 먹었습니다.
16 아이는 {friend:를} 다시 만나기로 약속했습니다.
16 {home:로} 돌아온 {hero:는} {friend:를} 생각했습니다.
12 "또 만나자!" 하고 {friend:가} 말했습니다.

[supper -> close]
30 집에서는 어머니가 {treat:와} {dish:를} 준비하고 있었습니다.
20 아버지는 모두를 위해 {treat:와} {dish:를} 가져왔습니다.
20 아이는 내일 {errand:로} 가기로 했습니다.
30 -

[close -> end]
24 모두 행복했습니다.
20 이야기는 여기에서 끝납니다.
20 참 즐거운 하루였습니다.
36 -

[fable-close -> end]
25 나중에 둘은 친구가 되었습니다.
15 그리고 둘은 함께 집으로 갔습니다.
60 -

[portrait]
40 {hero:가} 사는 곳은 {home:입니다}. -> portrait-food
30 {hero:가} 좋아하는 음식은 {food:입니다}. -> portrait-dream
30 {hero:의} 꿈은 {dream:입니다}. -> portrait-home

[portrait-food]
40 {hero:는} {food:를} 좋아합니다. -> portrait-dream-last
20 {hero:가} 좋아하는 음식은 {food:입니다}. -> portrait-dream-last
20 날마다 {food:를} 먹습니다. -> portrait-dream-last
20 - -> portrait-dream-last

[portrait-dream]
40 {hero:는} {dream:가} 되고 싶어 합니다. -> portrait-home-last
20 {hero:의} 꿈은 {dream:입니다}. -> portrait-home-last
20 언젠가는 {dream:가} 될 것입니다. -> portrait-home-last
20 - -> portrait-home-last

[portrait-home]
40 {hero:는} {home:에} 삽니다. -> portrait-food-last
20 {hero:가} 사는 곳은 {home:입니다}. -> portrait-food-last
20 {hero:의} 집은 {home:에} 있습니다. -> portrait-food-last
20 - -> portrait-food-last

[portrait-food-last -> end]
60 {hero:가} 좋아하는 음식은 {food:입니다}.
40 가장 좋아하는 음식은 {food:입니다}.

[portrait-dream-last -> end]
60 {hero:의} 꿈은 {dream:입니다}.
40 언젠가는 {dream:가} 될 것입니다.

[portrait-home-last -> end]
60 {hero:가} 사는 곳은 {home:입니다}.
40 {hero:의} 집은 {home:에} 있습니다.

[lesson]
40 낱말을 배워 봅시다. -> lesson-animal
30 영어 낱말을 몇 개 배웁시다. -> lesson-animal
30 - -> lesson-animal

[lesson-animal -> lesson-food]
50 {friend:는} 영어로 {friend:en}.
50 영어로 {friend:는} {friend:en}.

[lesson-food -> lesson-thing]
40 {treat:는} 영어로 {treat:en}.
30 영어로 {treat:는} {treat:en}.
30 -

[lesson-thing -> lesson-place]
40 {thing:는} 영어로 {thing:en}.
30 영어로 {thing:는} {thing:en}.
30 -

[lesson-place]
20 {place:는} 영어로 {place:en}. -> end
20 영어로 {place:는} {place:en}. -> end
20 {spot:는} 영어로 {spot:en}. -> end
20 영어로 쓴 {hero:의} 이름은 {hero:en}. -> end
20 {job:는} 영어로 {job:en}. -> end
"""
